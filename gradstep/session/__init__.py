"""The one door between inside and outside."""
