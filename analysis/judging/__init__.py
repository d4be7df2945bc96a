"""How expectations are judged, and what the verdict is."""
