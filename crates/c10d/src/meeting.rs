//! How ranks come together: the store is opened or found, everyone signs in, and when all are there the groups are
//! made.
//!
//! Everything here may wait for another process, so all of it runs on a thread of its own: whoever joins can stop
//! waiting when the time is up or the user asks for it, even inside libtorch.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::binding::{self, Failure, Store};
use crate::error::{Error, Name};
use crate::record::{Presence, Record};
use crate::rendezvous::{Backend, Rendezvous};
use crate::watch::{Ranks, Watch};

/// What ranks that have met hold together.
pub(crate) struct Met {
    pub(crate) watch: Watch,
    pub(crate) gloo: binding::Backend,
    pub(crate) nccl: Option<binding::Backend>,
    /// The connection through which the groups met, and in rank 0 mostly the store itself.
    pub(crate) store: Store,
    pub(crate) hosts: bool,
}

/// Between two looks whether the user wants to stop.
const SLICE: Duration = Duration::from_millis(100);
/// How much longer than the time limit libtorch itself waits in a collective.
const BACKENDS_PATIENCE: Duration = Duration::from_secs(30);
/// How long rank 0 looks for its own host by the name that the others have.
const OWN_NAME: Duration = Duration::from_secs(30);
/// What a thread may take beyond the time limit before it is left to itself.
const GRACE: Duration = Duration::from_secs(5);

/// Meets the other ranks.
pub(crate) fn meet(place: &Rendezvous) -> Result<Met, Error> {
    if place.backend == Backend::Nccl && !cfg!(nccl) {
        return Err(Error::NoNccl);
    }
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    let for_thread = place.clone();
    let spawned = std::thread::Builder::new()
        .name("rendezvous".to_owned())
        .spawn(move || {
            // Nobody listens any more where the wait was given up.
            let _ = sender.send(come_together(&for_thread, began));
        });
    let unanswered = |cause: &str| Error::Unreachable {
        rank: place.rank,
        address: place.address(),
        seconds: place.timeout.as_secs(),
        cause: cause.to_owned(),
    };
    if let Err(failure) = spawned {
        return Err(unanswered(&failure.to_string()));
    }
    loop {
        match receiver.recv_timeout(SLICE) {
            Ok(met) => return met,
            Err(RecvTimeoutError::Disconnected) => return Err(unanswered("its thread ended")),
            Err(RecvTimeoutError::Timeout) if (place.interrupted)() => {
                return Err(Error::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) if began.elapsed() > place.timeout + GRACE => {
                return Err(unanswered("what listens there does not speak"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn come_together(place: &Rendezvous, began: Instant) -> Result<Met, Error> {
    let deadline = began + place.timeout;
    let hosts = place.rank == 0 && !place.hosted;
    let host = if hosts { Some(listen(place)?) } else { None };
    let (store, address, own) = match host {
        Some((listener, ip)) => {
            let store = open(place, listener, ip)?;
            // As others reach this host: by the name that they know it by, which may take a while to be known.
            let patience = if place.interface.is_some() {
                Duration::ZERO
            } else {
                OWN_NAME
            };
            let own = reach(place, began, patience.min(place.timeout));
            let own = own.map_or(ip, |(_, own)| own);
            (store, SocketAddr::new(ip, place.master_port), own)
        }
        None => {
            let (address, own) = reach(place, began, place.timeout)?;
            (connect(place, address, deadline)?, address, own)
        }
    };
    let not_a_store = |failure: Failure| Error::NotAStore {
        rank: place.rank,
        address: place.address(),
        cause: failure.what().to_owned(),
    };
    let prefix = format!("math-llava/{}", place.restart);
    let key = |kind: &str, rank: usize| format!("{prefix}/{kind}/{rank}");
    let presence = Presence {
        host: host_name(),
        pid: std::process::id(),
        world: place.world,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: own.to_string(),
    };
    sign_in(place, &store, &key, &presence)
        .map_err(|failure| failure.map_or_else(|e| e, not_a_store))?;
    await_all(place, &store, &key, deadline)?;
    let keys = |kind: &str| {
        (0..place.world)
            .map(|rank| key(kind, rank))
            .collect::<Vec<_>>()
    };
    let came = store.get_all(&keys("come")).map_err(not_a_store)?;
    let came: Vec<Option<Presence>> = came.iter().map(|bytes| Presence::decode(bytes)).collect();
    compare(place, &came)?;
    let names = came
        .iter()
        .enumerate()
        .map(|(rank, presence)| match presence {
            Some(presence) => Name {
                rank,
                host: presence.host.clone(),
                pid: presence.pid,
            },
            None => Name {
                rank,
                host: "unknown host".to_owned(),
                pid: 0,
            },
        });
    let ranks = Ranks {
        rank: place.rank,
        names: names.collect(),
        address: place.address(),
        by_first: !place.hosted,
        timeout: place.timeout,
    };
    let watch = Watch::start(ranks, connect(place, address, deadline)?, keys("life"));

    let (rank, world) = (place.rank as i32, place.world as i32);
    // Later than the limit that is kept here, which can say who is late.
    let time = millis(place.timeout + BACKENDS_PATIENCE);
    let interface = place.interface.as_deref().unwrap_or_default();
    let opened = |backend: &'static str| {
        move |failure: Failure| Error::Open {
            rank: place.rank,
            backend,
            cause: failure.what().to_owned(),
        }
    };
    let gloo = binding::Backend::gloo(
        &store,
        &format!("{prefix}/gloo"),
        rank,
        world,
        &own.to_string(),
        interface,
        time,
    );
    let gloo = gloo.map_err(opened("Gloo"))?;
    let nccl = match place.backend {
        Backend::Gloo => None,
        Backend::Nccl => {
            let nccl = binding::Backend::nccl(&store, &format!("{prefix}/nccl"), rank, world, time);
            Some(nccl.map_err(opened("NCCL"))?)
        }
    };
    Ok(Met {
        watch,
        gloo,
        nccl,
        store,
        hosts,
    })
}

/// A socket for the store. Where the ranks meet on a loopback address it listens there alone, for a store asks nobody
/// who they are.
fn listen(place: &Rendezvous) -> Result<(TcpListener, IpAddr), Error> {
    let port = place.master_port;
    let loopback = match place.master_addr.as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        other => other.parse().ok().filter(IpAddr::is_loopback),
    };
    let candidates = match loopback {
        Some(ip) => vec![(ip, ip)],
        None => vec![
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        ],
    };
    let mut cause = String::new();
    for (bound, own) in candidates {
        match TcpListener::bind((bound, port)) {
            Ok(listener) => return Ok((listener, own)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(Error::PortInUse { port });
            }
            Err(error) => cause = error.to_string(),
        }
    }
    Err(Error::Listen {
        address: place.address(),
        cause,
    })
}

fn open(place: &Rendezvous, listener: TcpListener, ip: IpAddr) -> Result<Store, Error> {
    #[cfg(unix)]
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(listener);
    // Elsewhere the store binds the port again by itself.
    #[cfg(not(unix))]
    let descriptor = -1;
    Store::host(
        &ip.to_string(),
        place.master_port,
        descriptor,
        millis(place.timeout),
    )
    .map_err(|failure| Error::Listen {
        address: place.address(),
        cause: failure.what().to_owned(),
    })
}

/// Where the store answers, and this host's address on the way there; tried until it does.
fn reach(
    place: &Rendezvous,
    began: Instant,
    time: Duration,
) -> Result<(SocketAddr, IpAddr), Error> {
    let mut cause = "no answer".to_owned();
    loop {
        match (place.master_addr.as_str(), place.master_port).to_socket_addrs() {
            Ok(addresses) => {
                for address in addresses {
                    match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
                        Ok(stream) => {
                            let own = stream.local_addr().map_or(address.ip(), |own| own.ip());
                            return Ok((address, own));
                        }
                        Err(error) => cause = error.to_string(),
                    }
                }
            }
            // A name may come to be known later, as those of Kubernetes' pods do.
            Err(error) => cause = error.to_string(),
        }
        if began.elapsed() >= time {
            return Err(Error::Unreachable {
                rank: place.rank,
                address: place.address(),
                seconds: time.as_secs(),
                cause,
            });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn connect(place: &Rendezvous, address: SocketAddr, deadline: Instant) -> Result<Store, Error> {
    let rest = deadline.saturating_duration_since(Instant::now());
    let rest = rest.max(Duration::from_secs(1));
    Store::connect(&address.ip().to_string(), address.port(), millis(rest)).map_err(|failure| {
        Error::NotAStore {
            rank: place.rank,
            address: place.address(),
            cause: failure.what().to_owned(),
        }
    })
}

/// Takes this rank's place, or says who has it; the inner error is the store's.
fn sign_in(
    place: &Rendezvous,
    store: &Store,
    key: &dyn Fn(&str, usize) -> String,
    presence: &Presence,
) -> Result<(), Result<Failure, Error>> {
    if store.add(&key("place", place.rank), 1).map_err(Ok)? > 1 {
        let came = key("come", place.rank);
        let there = store.has(&came).map_err(Ok)?;
        let other = if there { store.get(&came).ok() } else { None };
        let other = other.and_then(|bytes| Presence::decode(&bytes));
        return Err(Err(Error::Twice {
            rank: place.rank,
            other: other.map_or_else(
                || "another".to_owned(),
                |other| format!("process {} on {}", other.pid, other.host),
            ),
        }));
    }
    // Before the presence: whoever sees that may read this.
    let sign = Record {
        tick: 1,
        ..Record::default()
    };
    store
        .set(&key("life", place.rank), &sign.encode())
        .map_err(Ok)?;
    store
        .set(&key("come", place.rank), &presence.encode())
        .map_err(Ok)
}

fn await_all(
    place: &Rendezvous,
    store: &Store,
    key: &dyn Fn(&str, usize) -> String,
    deadline: Instant,
) -> Result<(), Error> {
    let mut missing: Vec<usize> = (0..place.world).collect();
    let mut pause = Duration::from_millis(10);
    loop {
        let mut lost = None;
        missing.retain(|&rank| match store.has(&key("come", rank)) {
            Ok(there) => !there,
            Err(failure) => {
                lost = Some(format!("the store has closed ({})", failure.what()));
                true
            }
        });
        if missing.is_empty() {
            return Ok(());
        }
        let late = Instant::now() >= deadline;
        if let Some(cause) = lost.or_else(|| late.then(|| "the time is up".to_owned())) {
            return Err(Error::Missing {
                missing,
                world: place.world,
                address: place.address(),
                seconds: place.timeout.as_secs(),
                cause,
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Ranks that were started otherwise than rank 0.
fn compare(place: &Rendezvous, came: &[Option<Presence>]) -> Result<(), Error> {
    let differing = |what: &str, of: &dyn Fn(&Presence) -> String| {
        let said = |presence: &Option<Presence>| presence.as_ref().map_or_else(String::new, of);
        let first = came.first().map(said).unwrap_or_default();
        let others = came.iter().map(said).enumerate();
        let others: Vec<_> = others.filter(|(_, value)| *value != first).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Error::Disagree {
            what: what.to_owned(),
            first,
            others,
        })
    };
    differing("the number of ranks (WORLD_SIZE)", &|presence| {
        presence.world.to_string()
    })?;
    differing("the version of the program", &|presence| {
        presence.version.clone()
    })?;
    let local = |presence: &Option<Presence>| {
        let address = presence
            .as_ref()
            .map(|presence| presence.address.parse::<IpAddr>());
        matches!(address, Some(Ok(ip)) if ip.is_loopback())
    };
    let ranks = came
        .iter()
        .enumerate()
        .filter(|(_, presence)| local(presence));
    let ranks: Vec<usize> = ranks.map(|(rank, _)| rank).collect();
    if ranks.is_empty() || ranks.len() == came.len() || place.interface.is_some() {
        return Ok(());
    }
    let first = ranks.first().and_then(|&rank| came.get(rank)?.as_ref());
    Err(Error::Loopback {
        address: first
            .map(|presence| presence.address.clone())
            .unwrap_or_default(),
        local: ranks,
    })
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What this host calls itself; only people read it.
fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this host".to_owned())
}
