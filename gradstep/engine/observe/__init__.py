"""The one place that hooks torch: forward, backward and optimizer, as events. Only subscribed events are hooked."""
