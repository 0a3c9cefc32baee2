#include "cells.h"

const struct rest_cell rest_cells_policy[] = {
    {0},
};
