enable f16;

// Part of shaders with tiles: the factors of products in half precision, their sums in single. Halves what workgroup memory has to hold and move.

alias Factor = f16;
