//! The kinds of figures, one file each.

mod axes;
pub(crate) mod bar;
pub(crate) mod circle;
pub(crate) mod clock;
pub(crate) mod composite_area;
pub(crate) mod counting;
pub(crate) mod cycle;
pub(crate) mod food_chain;
pub(crate) mod function;
pub(crate) mod grouped_bar;
pub(crate) mod layers;
pub(crate) mod line;
mod marks;
pub(crate) mod number_line;
pub(crate) mod pie;
pub(crate) mod plant;
pub(crate) mod price_list;
pub(crate) mod scatter;
pub(crate) mod shapes;
pub(crate) mod table;
mod themes;
pub(crate) mod towers;
pub(crate) mod triangle;
