"""The toy world: generated scenes, captions, texts and a stand-in for each row of Table C.1."""
