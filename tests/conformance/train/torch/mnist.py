"""Digits with DistributedDataParallel over gloo, set up by the environment as PyTorchJob's samples are."""
import argparse
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--pause", type=float, default=0.0, help="seconds to wait after each epoch")
args = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(1)
world = int(os.environ.get("WORLD_SIZE", 1))
if world > 1:
    dist.init_process_group("gloo")
rank = dist.get_rank() if world > 1 else 0

images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, test_size=0.25, random_state=0)
train_x, test_x = (torch.tensor(a, dtype=torch.float32) for a in (train_x, test_x))
train_y, test_y = (torch.tensor(a) for a in (train_y, test_y))

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
if world > 1:
    model = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
for epoch in range(args.epochs):
    # An epoch of this little data is ten passes.
    for passes in range(10):
        order = torch.randperm(len(train_x), generator=torch.Generator().manual_seed(epoch * 10 + passes))
        for batch in order[rank::world].split(16):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
    print(f"rank {rank} of {world}: epoch={epoch + 1} accuracy={accuracy:.4f}", flush=True)
    if args.pause:
        import time
        time.sleep(args.pause)
if world > 1:
    dist.barrier()
    dist.destroy_process_group()
raise SystemExit(0 if accuracy >= 0.93 else "accuracy below 0.93")
