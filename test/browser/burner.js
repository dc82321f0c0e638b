// Burns a core until it is terminated, for tests of what a stream does beside it.
for (;;);
