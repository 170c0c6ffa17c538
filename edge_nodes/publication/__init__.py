"""How models get into a library: training, measuring, publishing; and the library that ships."""
