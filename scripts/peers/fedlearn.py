"""The rounds of `fedlearn` in PyTorch on a process pool: what taps-wasm is held against.

    fedlearn.py DATA_DIR [--dataset mnist|cifar10] [--model mlp|taps] [--clients 8] [--rounds 3]
                [--epochs 3] [--batch-size 32] [--lr 0.1] [--samples N] [--workers 2]

Equal shards, plain SGD, weighted averages, one thread per process, aggregation and tests in the pool
as well. Reading the data and starting the pool (with torch imported, shards in the memory of each
process) are not counted. Prints a line of JSON: seconds of the rounds, CPU seconds of training in
tasks, accuracies.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import platform
import random
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

try:
    import torch
except ImportError:
    sys.exit("torch is not installed: apt-get install python3-torch, or pip install torch")

from torch import nn

# What each process has before the clock starts.
STATE = {}


def read(path):
    packed = path.with_name(path.name + ".gz")
    return gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()


def tensor(data):
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def idx(directory, part):
    images = tensor(read(directory / f"{part}-images-idx3-ubyte")[16:])
    labels = tensor(read(directory / f"{part}-labels-idx1-ubyte")[8:])
    return images.reshape(-1, 1, 28, 28), labels.long()


def cifar(directory, part):
    records = tensor(read(directory / f"cifar10_{part}.bin")).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long()


def dense(widths):
    layers = [nn.Flatten()]
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def network(model, colours):
    if model == "mlp":
        return nn.Sequential(*dense([3072 if colours == 3 else 784, 128, 10]))
    if colours == 1:
        return nn.Sequential(*dense([784, 3136, 784, 196, 10]))
    layers, before = [], 3
    for pair in ((32, 64), (128, 128), (256, 256)):
        for channels in pair:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *dense([4096, 1024, 512, 10]))


def start(shards, test, options):
    torch.set_num_threads(1)
    STATE.update(shards=shards, test=test, options=options)


def ready(_):
    time.sleep(0.2)
    return os.getpid()


def build(weights):
    net = network(STATE["options"].model, STATE["test"][0].shape[1])
    net.load_state_dict(weights)
    return net


def local_train(client, weights):
    begin = time.process_time()
    options = STATE["options"]
    images, labels = STATE["shards"][client]
    images = images.float() / 255
    net = build(weights)
    sgd = torch.optim.SGD(net.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        for first in range(0, len(labels), options.batch_size):
            batch = slice(first, first + options.batch_size)
            sgd.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            sgd.step()
    return len(labels), net.state_dict(), time.process_time() - begin


def aggregate(parts):
    total = sum(samples for samples, _ in parts)
    names = parts[0][1].keys()
    return {
        name: sum(weights[name] * (samples / total) for samples, weights in parts) for name in names
    }


def test_model(weights):
    images, labels = STATE["test"]
    net = build(weights)
    correct = 0
    with torch.no_grad():
        for first in range(0, len(labels), 128):
            batch = slice(first, first + 128)
            outputs = net(images[batch].float() / 255)
            correct += (outputs.argmax(1) == labels[batch]).sum().item()
    return correct / len(labels)


def plain(weights):
    """Without torch's shared memory, which is no transport between machines."""
    return {name: value.detach().numpy() for name, value in weights.items()}


def back(weights):
    return {name: torch.from_numpy(value) for name, value in weights.items()}


def train_task(client, weights):
    samples, learnt, seconds = local_train(client, back(weights))
    return samples, plain(learnt), seconds


def aggregate_task(parts):
    return plain(aggregate([(samples, back(weights)) for samples, weights in parts]))


def test_task(weights):
    return test_model(back(weights))


def rounds(pool, options):
    torch.manual_seed(options.seed)
    colours = 3 if options.dataset == "cifar10" else 1
    weights = plain(network(options.model, colours).state_dict())
    accuracies, training = [], 0.0
    for _ in range(options.rounds):
        futures = [pool.submit(train_task, client, weights) for client in range(options.clients)]
        parts = [future.result() for future in futures]
        training += sum(seconds for _, _, seconds in parts)
        weights = pool.submit(aggregate_task, [part[:2] for part in parts]).result()
        accuracies.append(pool.submit(test_task, weights))
    return [accuracy.result() for accuracy in accuracies], training


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=pathlib.Path)
    parser.add_argument("--dataset", default="mnist", choices=["mnist", "cifar10"])
    parser.add_argument("--model", default="mlp", choices=["mlp", "taps"])
    for name, default in (("clients", 8), ("rounds", 3), ("epochs", 3), ("batch-size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    options = arguments()
    reader, train, test = (idx, "train", "t10k") if options.dataset == "mnist" else (cifar, "train", "test")
    images, labels = reader(options.data_dir, train)
    order = list(range(len(labels)))[: options.samples]
    random.Random(options.seed).shuffle(order)
    shards = [
        (images[mine], labels[mine])
        for mine in (order[client :: options.clients] for client in range(options.clients))
    ]
    initial = (shards, reader(options.data_dir, test), options)
    with concurrent.futures.ProcessPoolExecutor(options.workers, initializer=start, initargs=initial) as pool:
        list(pool.map(ready, range(4 * options.workers)))
        begin = time.perf_counter()
        accuracies, training = rounds(pool, options)
        seconds = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": training,
                "accuracies": accuracies,
                "workers": options.workers,
                "torch": torch.__version__,
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()
