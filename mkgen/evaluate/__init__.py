"""The one protocol by which every candidate is judged, whatever its backend and origin."""
