//! Pieces of pages that the reports here and other pages share: they are drawn in one place and look alike
//! everywhere.
//!
//! Each gives HTML or SVG as text for [`STYLE`], in which all that comes from data is escaped. A page that
//! has no room for images inside it links them ([`Pictures::linked`]).

pub use crate::benchmark::article::article as benchmark_item;
pub use crate::benchmark::chart::charts as subgroup_charts;
pub use crate::benchmark::flips::{groups as flip_groups, sentence as flip_sentence};
pub use crate::benchmark::questions::{Fate, Question};
pub use crate::benchmark::table::{board, groups as subgroup_tables};
pub use crate::card::provenance::{PlanRow, plan_rows};
pub use crate::flow::{FlowPart, flow, shown_counts};
pub use crate::flows::{bars as plan_bars, sankey as plan_flows};
pub use crate::html::{accuracy, count, difference, escape, shortened, verdict};
pub use crate::page::shares;
pub use crate::picture::{Pictures, encoded as encoded_picture};
pub use crate::scores::{section as heldout_section, tiles as heldout_tiles};
pub use crate::training::curve::{COLOURS, chart as training_chart};
pub use crate::training::records::Series;

/// The style of all of them.
pub const STYLE: &str = include_str!("style.css");
