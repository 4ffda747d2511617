//! Pages of the pairs that an inspection found: images nearly alike, and what a benchmark has too.

use std::path::Path;

use maud::{Markup, html};
use sample::Row;
use sample::scan::Table;
use select::inspect::{ContaminatedImage, ContaminatedQuestion, NearPair};

use crate::Error;
use crate::runs::{RunFolder, segment};
use crate::shell::parts::{Tone, badge, count, math, pager};

/// Pairs on a page.
pub(super) const PER_PAGE: u64 = 12;
/// No more of a question is shown, in characters.
const LONGEST: usize = 600;

/// A page of a table's rows.
#[derive(Debug)]
pub(super) struct PageOf<R> {
    pub rows: Vec<R>,
    /// Rows of the whole table.
    pub total: u64,
    /// The page, from 0.
    pub page: u64,
}

/// The rows of a page; none where there is no table. Row groups before it are not read.
pub(super) fn read<R: Row>(path: &Path, page: u64) -> Result<Option<PageOf<R>>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let table = Table::open(path)?;
    let total = table.rows();
    let page = page.min(total.saturating_sub(1) / PER_PAGE);
    let (mut skip, mut rows) = (page * PER_PAGE, Vec::new());
    for group in 0..table.groups() {
        let in_group = table.group_rows(group);
        if skip >= in_group {
            skip -= in_group;
            continue;
        }
        for batch in table.group(group, &[])? {
            let batch = batch?;
            let length = batch.num_rows() as u64;
            if skip >= length {
                skip -= length;
                continue;
            }
            let wanted = (PER_PAGE - rows.len() as u64).min(length - skip);
            let part = batch.slice(skip as usize, wanted as usize);
            rows.extend(R::rows(&part).map_err(|e| sample::Error::format(path, e))?);
            skip = 0;
            if rows.len() as u64 == PER_PAGE {
                break;
            }
        }
        if rows.len() as u64 == PER_PAGE {
            break;
        }
    }
    Ok(Some(PageOf { rows, total, page }))
}

impl<R> PageOf<R> {
    /// Where one is, with links to the neighbours; `address` gives a page's.
    pub fn pager(&self, label: &str, address: impl Fn(u64) -> String) -> Markup {
        let pages = self.total.div_ceil(PER_PAGE);
        if pages < 2 {
            return html! {};
        }
        let here = format!("page {} of {}", count(self.page + 1), count(pages));
        let previous = self.page.checked_sub(1).map(&address);
        let next = (self.page + 1 < pages).then(|| address(self.page + 1));
        pager(label, &here, previous.as_deref(), next.as_deref())
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An image of the run, by its digest.
fn picture(run: &RunFolder, path: &str, sha256: &str) -> Markup {
    let address = format!("/data/{}/image/{}?side=320", run.segment(), segment(sha256));
    html! {
        figure {
            img loading="lazy" src=(address) alt={ "image " (path) };
            figcaption { (shortened(path)) }
        }
    }
}

/// Two images that show the same.
pub(super) fn near(run: &RunFolder, pair: &NearPair) -> Markup {
    html! {
        article.item {
            div.pictures.pair-of {
                (picture(run, &pair.image, &pair.image_sha256))
                (picture(run, &pair.other, &pair.other_sha256))
            }
            div.body {
                p.meta {
                    (pair.hamming) " bits of their perceptual hashes differ; they look "
                    (format!("{:.1}", pair.distance)) " of 255 apart"
                }
            }
        }
    }
}

/// An image that a benchmark has too.
pub(super) fn image(run: &RunFolder, found: &ContaminatedImage) -> Markup {
    html! {
        article.item {
            div.pictures { (picture(run, &found.image, &found.image_sha256)) }
            div.body {
                p.meta {
                    (badge(Tone::Bad, if found.kind == "exact" { "same bytes" } else { "nearly the same" })) " "
                    @if found.kind != "exact" {
                        (found.hamming) " bits differ, " (format!("{:.1}", found.distance)) " of 255 apart"
                    }
                }
                dl {
                    dt { "benchmark" } dd { (found.benchmark) }
                    dt { "its image" } dd { (shortened(&found.benchmark_image)) }
                    @if let Some(item) = &found.item { dt { "its item" } dd { (shortened(item)) } }
                }
            }
        }
    }
}

/// A question that a benchmark asks too.
pub(super) fn question(run: &RunFolder, found: &ContaminatedQuestion) -> Markup {
    html! {
        article.item {
            div.body {
                p.meta {
                    @if found.dropped { (badge(Tone::Bad, "dropped")) } @else { (badge(Tone::Even, "listed only")) }
                    " " (format!("{:.0}%", 100.0 * found.overlap)) " of the benchmark's word n-grams"
                }
                div.side-by-side {
                    div {
                        h4 { "here" }
                        p { (math(&shortened(&found.question))) }
                        p.meta { a href={ "/data/" (run.segment()) "/sample/" (segment(&found.id)) } { (shortened(&found.id)) } }
                    }
                    div {
                        h4 { (found.benchmark) }
                        p { (math(&shortened(&found.benchmark_question))) }
                        p.meta { (shortened(&found.item)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::{Reject, write_table};

    #[test]
    fn pages_have_every_row_once_over_row_groups() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.parquet");
        assert!(read::<Reject>(&path, 0).unwrap().is_none());
        // Past one row group, whose last page goes on in the next.
        let rows: Vec<Reject> = (0..65_550)
            .map(|i| Reject {
                source: "s".into(),
                row: i.to_string(),
                reason: "r".into(),
                detail: String::new(),
            })
            .collect();
        write_table(&path, &rows).unwrap();
        let pages = 65_550u64.div_ceil(PER_PAGE);
        for page in [0, 1, 700, 5460, 5461, pages - 2, pages - 1] {
            let found = read::<Reject>(&path, page).unwrap().unwrap();
            let names: Vec<String> = found.rows.iter().map(|r| r.row.clone()).collect();
            let from = page * PER_PAGE;
            let wanted: Vec<String> = (from..(from + PER_PAGE).min(65_550))
                .map(|i| i.to_string())
                .collect();
            assert_eq!((names, found.page), (wanted, page));
        }
        // Beyond the end is the last page.
        assert_eq!(
            read::<Reject>(&path, u64::MAX / 64).unwrap().unwrap().page,
            pages - 1
        );
    }
}
