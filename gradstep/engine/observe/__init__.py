"""The one place that hooks torch: forward, backward and optimizer, as events; what nobody asks for is not hooked."""
