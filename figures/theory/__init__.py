"""The theory's figures, with the simulations behind them."""
