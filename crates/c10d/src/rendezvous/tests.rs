//! Environments as the starters make them, and broken ones.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Option<Rendezvous>, Error> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Rendezvous::from_lookup(&move |name| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    })
}

const TORCHRUN: &[(&str, &str)] = &[
    ("RANK", "5"),
    ("WORLD_SIZE", "8"),
    ("LOCAL_RANK", "1"),
    ("MASTER_ADDR", "node0.cluster"),
    ("MASTER_PORT", "29400"),
    ("TORCHELASTIC_USE_AGENT_STORE", "True"),
    ("TORCHELASTIC_RESTART_COUNT", "2"),
];

const SRUN: &[(&str, &str)] = &[
    ("SLURM_STEP_ID", "3"),
    ("SLURM_PROCID", "7"),
    ("SLURM_NTASKS", "16"),
    ("SLURM_LOCALID", "3"),
    ("SLURM_JOB_ID", "1234567"),
    ("SLURM_JOB_NODELIST", "gpu[003-006,9],login1"),
];

fn with(
    base: &[(&'static str, &'static str)],
    name: &'static str,
    value: &'static str,
) -> Vec<(&'static str, &'static str)> {
    let mut pairs: Vec<_> = base
        .iter()
        .copied()
        .filter(|(key, _)| *key != name)
        .collect();
    pairs.push((name, value));
    pairs
}

#[test]
fn nothing_set_is_no_group() {
    assert!(read(&[]).unwrap().is_none());
    assert!(
        read(&[("RANK", ""), ("WORLD_SIZE", " ")])
            .unwrap()
            .is_none()
    );
}

#[test]
fn torchruns_variables_are_a_place_at_the_agents_store() {
    let place = read(TORCHRUN).unwrap().unwrap();
    assert_eq!((place.rank, place.world, place.local_rank), (5, 8, 1));
    assert_eq!(place.address(), "node0.cluster:29400");
    assert!(place.hosted);
    assert_eq!(place.restart, 2);
    assert_eq!(place.timeout, Duration::from_secs(600));
}

#[test]
fn plain_variables_need_no_local_rank_and_host_their_own_store() {
    let pairs = [
        ("RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("MASTER_ADDR", "::1"),
        ("MASTER_PORT", "1"),
        ("MATH_LLAVA_RANK_TIMEOUT", "30"),
        ("GLOO_SOCKET_IFNAME", "eth1"),
    ];
    let place = read(&pairs).unwrap().unwrap();
    assert!(!place.hosted);
    assert_eq!((place.local_rank, place.restart), (0, 0));
    assert_eq!(place.timeout, Duration::from_secs(30));
    assert_eq!(place.interface.as_deref(), Some("eth1"));
}

#[test]
fn sruns_variables_give_the_first_host_and_a_port_by_the_job() {
    let place = read(SRUN).unwrap().unwrap();
    assert_eq!((place.rank, place.world, place.local_rank), (7, 16, 3));
    assert_eq!(place.master_addr, "gpu003");
    assert_eq!(
        u64::from(place.master_port),
        20_000 + (1_234_567 + 3) % 12_000
    );
    assert!(!place.hosted);
    let told = with(
        &with(SRUN, "MASTER_ADDR", "10.0.0.1"),
        "MASTER_PORT",
        "7000",
    );
    assert_eq!(read(&told).unwrap().unwrap().address(), "10.0.0.1:7000");
    let step = with(
        &with(SRUN, "SLURM_STEP_NODELIST", "gpu9"),
        "SLURM_STEP_NUM_TASKS",
        "8",
    );
    let place = read(&step).unwrap().unwrap();
    assert_eq!((place.master_addr.as_str(), place.world), ("gpu9", 8));
}

#[test]
fn a_batch_script_and_a_single_task_are_no_group() {
    let script: Vec<_> = SRUN
        .iter()
        .copied()
        .filter(|(name, _)| *name != "SLURM_STEP_ID")
        .collect();
    assert!(read(&script).unwrap().is_none());
    assert!(read(&with(SRUN, "SLURM_NTASKS", "1")).unwrap().is_none());
}

#[test]
fn torchruns_variables_go_before_slurms() {
    let both: Vec<_> = SRUN.iter().chain(TORCHRUN).copied().collect();
    assert_eq!(read(&both).unwrap().unwrap().rank, 5);
}

#[test]
fn half_of_the_variables_is_an_error_that_names_the_others() {
    for (pairs, missing) in [
        (
            vec![("RANK", "0")],
            "WORLD_SIZE and MASTER_ADDR and MASTER_PORT",
        ),
        (
            vec![("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "a")],
            "MASTER_PORT",
        ),
        (
            vec![("MASTER_ADDR", "a"), ("MASTER_PORT", "1")],
            "RANK and WORLD_SIZE",
        ),
        (vec![("LOCAL_RANK", "0")], "RANK and WORLD_SIZE"),
        (
            vec![
                ("SLURM_STEP_ID", "0"),
                ("SLURM_PROCID", "0"),
                ("SLURM_NTASKS", "2"),
            ],
            "SLURM_LOCALID",
        ),
        (
            vec![
                ("SLURM_STEP_ID", "0"),
                ("SLURM_PROCID", "0"),
                ("SLURM_NTASKS", "2"),
                ("SLURM_LOCALID", "0"),
            ],
            "SLURM_JOB_NODELIST",
        ),
    ] {
        let error = read(&pairs).unwrap_err().to_string();
        assert!(
            error.contains(&format!("but not {missing}")),
            "{pairs:?}: {error}"
        );
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    for (base, name, value) in [
        (TORCHRUN, "RANK", "8"),
        (TORCHRUN, "RANK", "-1"),
        (TORCHRUN, "WORLD_SIZE", "0"),
        (TORCHRUN, "WORLD_SIZE", "99999999999999999999"),
        (TORCHRUN, "MASTER_PORT", "65536"),
        (TORCHRUN, "MASTER_PORT", "0"),
        (TORCHRUN, "MASTER_ADDR", "http://node0"),
        (TORCHRUN, "LOCAL_RANK", "one"),
        (TORCHRUN, "MATH_LLAVA_RANK_TIMEOUT", "0"),
        (TORCHRUN, "TORCHELASTIC_RESTART_COUNT", "x"),
        (SRUN, "SLURM_PROCID", "16"),
        (SRUN, "SLURM_JOB_NODELIST", "gpu[1-"),
        (SRUN, "SLURM_JOB_ID", "x"),
    ] {
        let error = read(&with(base, name, value)).unwrap_err().to_string();
        assert!(error.starts_with(name), "{name}={value}: {error}");
    }
}
