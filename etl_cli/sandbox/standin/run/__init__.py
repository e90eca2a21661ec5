"""What each kind of statement does; the engine calls them."""
