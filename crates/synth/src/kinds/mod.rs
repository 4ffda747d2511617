//! The four kinds of section 3 of the paper, one file each.

mod askimg;
mod compq;
mod rephq;
mod simpq;

pub use askimg::AskImg;
pub use compq::CompQ;
pub use rephq::RephQ;
pub use simpq::SimpQ;
