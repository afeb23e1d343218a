"""Find the faces of a frame, follow them through a clip, and cut square crops."""
