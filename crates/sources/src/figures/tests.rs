//! Tests over the whole of the list of families.
