"""SwanLab. logging.command: [python3, docs/feeds/swanlab_feed.py]. SWANLAB_MODE=local keeps everything on this machine."""
import os

import swanlab

from feed import rows, run_name

swanlab.init(project=os.environ.get("SWANLAB_PROJECT", "muster"), experiment_name=run_name(),
             mode=os.environ.get("SWANLAB_MODE", "local"))
for step, values in rows():
    swanlab.log(values, step=step)
swanlab.finish()
