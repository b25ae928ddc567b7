"""Does a server do what it says? What is asked, how the answers are judged, and whose turn it is."""
