// Part of shaders with tiles: the factors of products as they are.

alias Factor = f32;
