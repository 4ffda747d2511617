//! Work on single files that may be done on other machines.
//!
//! Opening images is what most of the hours of a large collection go into, and each image is opened for
//! itself. So the stages that do it ask for it by name: a [`Function`] takes items (mostly paths) and
//! gives bytes for each, and whoever implements [`Workers`] decides where it runs. A stage that is given
//! none calls the same function on its own threads, so both ways give the same bytes.

use std::cell::Cell;
use std::sync::Arc;

use crate::{Error, interrupt};

/// Something that can be asked for by name.
///
/// **Invariant:** what it gives for an item follows from the arguments, the item and the file that the item
/// names, and from nothing that was called before or beside it.
pub trait Function: Send + Sync {
    /// What it is asked for by: lower case, with underscores.
    fn name(&self) -> &'static str;

    /// Raised when it comes to give other bytes for the same item; both sides must have the same.
    fn version(&self) -> u32;

    /// One result for each item, in their order. What is wrong with one item is part of its result.
    ///
    /// # Errors
    /// What is wrong with all of them, such as arguments that cannot be read: in words.
    fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String>;
}

/// Machines that call functions.
pub trait Workers: Send + Sync {
    /// Calls `function` with the same `arguments` on the items of each of `pieces` pieces, and hands the
    /// results on piece by piece, in any order; `items` gives a piece's items when it is asked for.
    ///
    /// # Errors
    /// A function that the workers do not know, or in another version; workers that are gone;
    /// what the function says; what `items` or `done` say; a stop.
    fn call(
        &self,
        function: &str,
        arguments: &str,
        pieces: usize,
        items: &dyn Fn(usize) -> Result<Vec<String>, Error>,
        done: &mut dyn FnMut(usize, Vec<Vec<u8>>) -> Result<(), Error>,
    ) -> Result<(), Error>;
}

/// Calls `function` on `workers` for the stage of that name. As [`Workers::call`], but `done` may rely on being
/// called once for each piece, with one result for each of its items.
///
/// # Errors
/// As [`Workers::call`], with the stage and the function; workers that leave a piece out, or give too few or too
/// many results.
pub fn ask(
    workers: &dyn Workers,
    stage: &'static str,
    function: &dyn Function,
    arguments: &str,
    pieces: usize,
    items: &dyn Fn(usize) -> Result<Vec<String>, Error>,
    done: &mut dyn FnMut(usize, Vec<Vec<u8>>) -> Result<(), Error>,
) -> Result<(), Error> {
    if pieces == 0 {
        return Ok(());
    }
    let trouble = |detail: String| Err(Error::Workers(detail));
    let asked = vec![Cell::new(0usize); pieces];
    let mut is_done = vec![false; pieces];
    let mut left = pieces;
    let called = workers.call(
        function.name(),
        arguments,
        pieces,
        &|piece| {
            let items = items(piece)?;
            asked[piece].set(items.len());
            Ok(items)
        },
        &mut |piece, results| {
            interrupt::check()?;
            match is_done.get_mut(piece) {
                Some(is_done) if !*is_done => *is_done = true,
                _ => return trouble(format!("piece {piece} came twice or is none of {pieces}")),
            }
            let (given, asked) = (results.len(), asked[piece].get());
            if given != asked {
                return trouble(format!(
                    "{given} results for the {asked} items of piece {piece}"
                ));
            }
            left -= 1;
            done(piece, results)
        },
    );
    let error = match called {
        Ok(()) if left == 0 => return Ok(()),
        Ok(()) => Error::Workers(format!("{left} of {pieces} pieces did not come back")),
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => error,
    };
    Err(Error::Workers(format!(
        "the {stage} stage asked its workers for {}: {error}. The same command goes on with what is finished",
        function.name()
    )))
}

/// Workers that are this process: to try what a stage does with workers where there are no others. Pieces are
/// done from the last to the first, and some items at a time, so that nobody comes to rely on an order.
pub struct Local {
    /// What can be called.
    pub functions: Vec<Arc<dyn Function>>,
    /// Items that a function is given at a time.
    pub at_a_time: usize,
}

impl Workers for Local {
    fn call(
        &self,
        function: &str,
        arguments: &str,
        pieces: usize,
        items: &dyn Fn(usize) -> Result<Vec<String>, Error>,
        done: &mut dyn FnMut(usize, Vec<Vec<u8>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let known = self.functions.iter().find(|f| f.name() == function);
        let known =
            known.ok_or_else(|| Error::Workers("there is no such function here".to_owned()))?;
        for piece in (0..pieces).rev() {
            let items = items(piece)?;
            let mut results = Vec::with_capacity(items.len());
            for some in items.chunks(self.at_a_time.max(1)) {
                interrupt::check()?;
                let some: Vec<&str> = some.iter().map(String::as_str).collect();
                results.extend(known.call(arguments, &some).map_err(Error::Workers)?);
            }
            done(piece, results)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shout;

    impl Function for Shout {
        fn name(&self) -> &'static str {
            "shout"
        }

        fn version(&self) -> u32 {
            1
        }

        fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
            if arguments == "hoarse" {
                return Err("no voice".to_owned());
            }
            Ok(items
                .iter()
                .map(|i| i.to_uppercase().into_bytes())
                .collect())
        }
    }

    /// Calls `done` with these pieces and counts of results, whatever is asked.
    struct Careless(Vec<(usize, usize)>);

    impl Workers for Careless {
        fn call(
            &self,
            _: &str,
            _: &str,
            pieces: usize,
            items: &dyn Fn(usize) -> Result<Vec<String>, Error>,
            done: &mut dyn FnMut(usize, Vec<Vec<u8>>) -> Result<(), Error>,
        ) -> Result<(), Error> {
            for piece in 0..pieces {
                items(piece)?;
            }
            for (piece, results) in &self.0 {
                done(*piece, vec![Vec::new(); *results])?;
            }
            Ok(())
        }
    }

    fn asked(workers: &dyn Workers, arguments: &str) -> Result<Vec<(usize, String)>, Error> {
        let items = |piece: usize| Ok(vec![format!("a{piece}"), "b".to_owned(), "c".to_owned()]);
        let mut got = Vec::new();
        ask(
            workers,
            "import",
            &Shout,
            arguments,
            2,
            &items,
            &mut |piece, results| {
                got.push((
                    piece,
                    String::from_utf8_lossy(&results.concat()).into_owned(),
                ));
                Ok(())
            },
        )?;
        Ok(got)
    }

    #[test]
    fn pieces_come_whole_and_in_the_order_of_their_items() {
        let local = Local {
            functions: vec![Arc::new(Shout)],
            at_a_time: 2,
        };
        let got = asked(&local, "").unwrap();
        assert_eq!(got, [(1, "A1BC".to_owned()), (0, "A0BC".to_owned())]);
    }

    #[test]
    fn trouble_names_the_stage_and_the_function() {
        let unknown = Local {
            functions: Vec::new(),
            at_a_time: 1,
        };
        let hoarse = Local {
            functions: vec![Arc::new(Shout)],
            at_a_time: 1,
        };
        let cases: [(&dyn Workers, &str, &str); 6] = [
            (&unknown, "", "no such function"),
            (&hoarse, "hoarse", "no voice"),
            (
                &Careless(vec![(0, 3)]),
                "",
                "1 of 2 pieces did not come back",
            ),
            (&Careless(vec![(0, 3), (0, 3)]), "", "piece 0 came twice"),
            (
                &Careless(vec![(2, 3)]),
                "",
                "piece 2 came twice or is none of 2",
            ),
            (
                &Careless(vec![(1, 4)]),
                "",
                "4 results for the 3 items of piece 1",
            ),
        ];
        for (workers, arguments, wanted) in cases {
            let said = asked(workers, arguments).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
            assert!(said.contains("import") && said.contains("shout"), "{said}");
        }
    }
}
