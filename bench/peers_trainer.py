"""Hugging Face Trainer with DeepSpeed ZeRO-2, as its users run it: batches padded to their longest sample.

  torchrun --nproc-per-node 2 peers_trainer.py DIR fp32|bf16 STEPS
"""
import sys
import time

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from peers_common import ADAMW, CLIP_NORM, LABEL_NONE, WEIGHT_DECAY, Samples, load_model, rate_factor, tell

PAD_ID = 151643
BUCKET_ELEMENTS = 4 << 20


def padded(samples):
    def pad(key, value):
        return torch.nn.utils.rnn.pad_sequence([s[key] for s in samples], batch_first=True, padding_value=value)
    ids = pad("input_ids", PAD_ID)
    lengths = torch.tensor([len(s["input_ids"]) for s in samples])
    return dict(input_ids=ids, labels=pad("labels", LABEL_NONE), mm_token_type_ids=pad("mm_token_type_ids", 0),
                attention_mask=(torch.arange(ids.shape[1]) < lengths[:, None]).long(),
                pixel_values=torch.cat([s["pixel_values"] for s in samples]),
                image_grid_thw=torch.cat([s["image_grid_thw"] for s in samples]))


class Ends(TrainerCallback):
    def __init__(self):
        self.times = []

    def on_step_end(self, args, state, control, **kwargs):
        self.times.append(time.time())


class ScheduledTrainer(Trainer):
    """Has muster's schedule and keeps the losses."""

    def __init__(self, **options):
        super().__init__(**options)
        self.losses = []

    def create_scheduler(self, num_training_steps, optimizer=None):
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer or self.optimizer, lambda step: rate_factor(step, num_training_steps))
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.losses.append(loss)
        return loss


def main():
    folder, dtype, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    zero = {"stage": 2, "overlap_comm": False, "contiguous_gradients": True, "reduce_bucket_size": BUCKET_ELEMENTS,
            "allgather_bucket_size": BUCKET_ELEMENTS}
    deepspeed = {"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
                 "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "zero_optimization": zero}
    beta1, beta2 = ADAMW["betas"]
    arguments = TrainingArguments(
        output_dir=folder + "/trainer", max_steps=steps, per_device_train_batch_size=2, bf16=dtype == "bf16",
        use_cpu=True, learning_rate=ADAMW["lr"], adam_beta1=beta1, adam_beta2=beta2, adam_epsilon=ADAMW["eps"],
        weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP_NORM, optim="adamw_torch_fused", deepspeed=deepspeed,
        average_tokens_across_devices=True, train_sampling_strategy="sequential", remove_unused_columns=False,
        save_strategy="no", report_to="none", disable_tqdm=True)
    ends = Ends()
    model = load_model(folder)
    # transformers says False of this model: it would weigh every rank's mean alike, however many labels the rank has.
    model.accepts_loss_kwargs = True
    trainer = ScheduledTrainer(model=model, args=arguments, train_dataset=Samples(folder), data_collator=padded,
                               callbacks=[ends])
    trainer.train()
    tell(ends.times, trainer.losses)


main()
