//! Other machines that do a stage's work, where the user names a cluster; and what such machines can be asked for.

use std::sync::Arc;

use anyhow::Result;
use sample::workers::{Function, Workers};
use select::Resources;

/// Everything that stages ask workers for.
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
pub fn functions() -> Vec<Arc<dyn Function>> {
    vec![
        Arc::new(sources::ReadPicture),
        Arc::new(select::inspect::FingerprintImage),
        #[cfg(feature = "torch")]
        Arc::new(grade::GradeBatch),
    ]
}

/// A cluster that answered, or none: then this process does all work.
#[derive(Default)]
pub struct Machines {
    #[cfg(feature = "cluster")]
    cluster: Option<Arc<cluster::Cluster>>,
}

impl Machines {
    /// Those behind the scheduler at `address`.
    #[cfg(feature = "cluster")]
    pub fn find(address: Option<&str>) -> Result<Machines> {
        let Some(address) = address else {
            return Ok(Machines::default());
        };
        let functions = cluster::Functions::new(env!("CARGO_PKG_VERSION"), functions());
        let options = cluster::ConnectOptions::new(address, functions);
        let cluster = cluster::Cluster::connect(&options)?;
        Ok(Machines {
            cluster: Some(Arc::new(cluster)),
        })
    }

    /// Says why there are none.
    #[cfg(not(feature = "cluster"))]
    pub fn find(address: Option<&str>) -> Result<Machines> {
        match address {
            None => Ok(Machines::default()),
            Some(address) => anyhow::bail!(
                "this build does all work itself and cannot ask the cluster at {address}: build it with \
                 `cargo build --release -p math-llava --features cluster`"
            ),
        }
    }

    /// Who opens images.
    pub fn workers(&self) -> Option<&dyn Workers> {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            return Some(cluster.as_ref());
        }
        None
    }

    /// What plans may use, and who runs them.
    pub fn resources(&self) -> Resources {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            return Resources {
                remote: Some(cluster.clone()),
                ..Resources::default()
            };
        }
        Resources::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_cannot_be_had_is_an_error_and_none_is_not() {
        let none = Machines::find(None).unwrap();
        assert!(none.workers().is_none() && none.resources().remote.is_none());
        // Nobody listens on port 1.
        let Err(error) = Machines::find(Some("127.0.0.1:1")) else {
            panic!("somebody listens on port 1");
        };
        let said = error.to_string();
        assert!(said.contains("127.0.0.1:1"), "{said}");
    }
}
