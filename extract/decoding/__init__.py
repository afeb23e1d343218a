"""Read video and image files: frames at the wanted times, with their timestamps."""
