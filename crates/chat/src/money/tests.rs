//! Prices, estimates and the budget's bound.
