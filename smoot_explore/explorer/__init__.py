"""The explorer: a page that trains, shows and compares. State in plain classes, views that only lay it out."""
