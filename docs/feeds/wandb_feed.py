"""Weights & Biases. logging.command: [python3, docs/feeds/wandb_feed.py]. WANDB_MODE=offline needs no network:
`wandb sync` uploads what it wrote later."""
import os

import wandb

from feed import config_file, rows, run_name

run = wandb.init(project=os.environ.get("WANDB_PROJECT", "muster"), name=run_name(), id=run_name(), resume="allow",
                 dir=os.environ["MUSTER_RUN_DIR"])
if config_file().exists():
    run.save(str(config_file()), policy="now")
for step, values in rows():
    run.log({name.replace(".", "/", 1): value for name, value in values.items()}, step=step)
run.finish()
