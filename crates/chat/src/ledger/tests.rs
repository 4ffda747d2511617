//! What a ledger promises, kill by kill.
