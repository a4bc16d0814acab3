"""JupyterLab behind the box's proxy. A file of the same name in ~/.jupyter comes after this one, and arguments last."""

import os

c = get_config()  # noqa: F821

# Kubeflow's contract: this port, this prefix, and whoever reaches the port has been let in by the proxy.
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.base_url = os.environ.get("NB_PREFIX") or "/"
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
# The proxy hands on the browser's Host, so the origin of requests can still be compared with it, and the cookie
# against forged requests is asked for. NB_ALLOW_ORIGIN is for a proxy that does otherwise.
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_origin = os.environ.get("NB_ALLOW_ORIGIN", "")
c.ServerApp.trust_xheaders = True
c.ServerApp.authenticate_prometheus = False

c.ServerApp.root_dir = os.getcwd()
c.ServerApp.terminals_enabled = True
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}
# A deleted file goes at once: a trash folder would fill the volume unseen.
c.FileContentsManager.delete_to_trash = False
# Files go out in pieces whatever their size; these are for what comes in.
c.ServerApp.max_body_size = c.ServerApp.max_buffer_size = 4 << 30

# The box stops idle notebooks as a whole, by /api/kernels; single kernels stay.
c.MappingKernelManager.cull_idle_timeout = 0

# Language servers are not in the image, and looking for them slows the start. The classic notebook's shim imports
# IPython, Kale's half of the server imports kfp, and serves an example route that Kale's page never asks.
c.ServerApp.jpserver_extensions = {"jupyter_lsp": False, "notebook_shim": False, "jupyterlab_kubeflow_kale": False}
