"""What the stages share: errors, tables, options, the map over many videos, the demo corpus."""
