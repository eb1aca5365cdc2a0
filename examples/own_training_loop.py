"""Hyperparameter search over a training loop of your own: any PyTorch model, any data."""

import torch
from ray import tune

import raynas


def train(config):
    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    targets = inputs.square().sum(dim=1, keepdim=True)
    layers = [torch.nn.Linear(8, config["hidden"]), torch.nn.Tanh(), torch.nn.Linear(config["hidden"], 1)]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for _ in range(20):
        for batch in torch.arange(384).split(64):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            yield {"val_loss": torch.nn.functional.mse_loss(model(inputs[384:]), targets[384:]).item()}


if __name__ == "__main__":
    space = {"lr": tune.loguniform(1e-4, 1e-1), "hidden": tune.choice([8, 16, 32, 64])}
    stop = {"name": "asha", "max_epochs": 20, "grace": 2}
    results = raynas.search(space, train, objective="loss", search="optuna", stop=stop, trials=16)
    print(results.best(3)[["fitness", "lr", "hidden", "epochs"]])
