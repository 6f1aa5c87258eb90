"""The limits of one request to the explorer, and of the time and memory of its answer."""

#: Queries and keys on a side.
MAX_LENGTH = 1 << 20
#: Position of a query: the first may stand as far along as there may be keys.
MAX_POSITION = 2 * MAX_LENGTH - 1
#: Characters of an expression; a list of 2000 documents fits.
MAX_EXPRESSION = 16_000
#: Pixels along a side of a tile.
MAX_TILE = 512
#: Pixels that share a whole number of cells.
MAX_SHRINK = 8
#: Pixels along the longer side of a picture to take away.
MAX_PICTURE = 4096
#: Batch rows, and heads; and the last of them, counted from 0.
MAX_PLANES = 256
LAST_PLANE = MAX_PLANES - 1
#: Layers of a receptive field, and of a cost.
MAX_LAYERS = 1024
#: Heads of a model whose cost is computed, and their width.
MAX_HEADS, MAX_HEAD_DIM = 1024, 4096
#: Positions along a side that are sent cell by cell, for the panels that show every number.
MAX_DENSE = 256
#: Runs of keys of one row that are sent.
MAX_RUNS = 1000

#: Seconds after which a question is given up and its process killed.
SECONDS = 10.0
#: The most bytes of that process.
MEMORY = 768 << 20
#: The most questions that wait for one process, and the seconds that a dropped one may still run.
MAX_ASKING, GRACE = 64, 3.0

#: Tokens of a prompt whose weights are shown, and characters of a path.
MAX_PROMPT, MAX_PATH = 256, 4096
#: Weights of a model that is opened, in bytes on disk.
MODEL_BYTES = 4 << 30
#: As above, for questions about a model: it is loaded, run and audited.
MODEL_SECONDS = 300.0
MODEL_MEMORY = 12 << 30
#: Bytes of a model's config.json.
MAX_CONFIG = 1 << 20
#: Bytes of a request's body, and of an address: two masks of the longest, each character written as three.
MAX_BODY = 64 << 10
MAX_QUERY_STRING = 6 * MAX_EXPRESSION + 4096
#: Bytes of a request's head: its address and headers.
MAX_HEAD = MAX_QUERY_STRING + (32 << 10)
