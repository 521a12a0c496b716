//! Which container a task runs in, from the path of its cgroup.

/// A container, as its runtime names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Container {
    /// Full id: 64 lower-case hex digits (or the machine's name for systemd-nspawn).
    pub id: String,
    /// `docker`, `podman`, `cri-o`, `containerd`, `nspawn`; `None` if the path does not tell.
    pub runtime: Option<&'static str>,
}

/// Prefixes that runtimes put before the id, in the last components of the path, with systemd's cgroup driver.
const PREFIXES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("crio-", "cri-o"),
    ("cri-containerd-", "containerd"),
    ("nspawn-", "nspawn"),
];

/// Finds the container in the content of `/proc/PID/cgroup`: the cgroup v2 line, else the longest v1 path.
pub fn container_from_cgroup(text: &str) -> Option<Container> {
    let path = |line: &'_ str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let unified = text.lines().find(|line| line.starts_with("0::")).and_then(path);
    unified.as_deref().and_then(container_from_path).or_else(|| {
        text.lines()
            .filter_map(path)
            .find_map(|path| container_from_path(&path))
    })
}

/// The path in the content of `/proc/PID/cgroup`: the cgroup v2 line's, else that of systemd's own hierarchy.
pub fn cgroup_path(text: &str) -> Option<String> {
    ["0::", "name=systemd:"].iter().find_map(|mark| {
        text.lines()
            .filter_map(|line| Some(line.split_at_checked(line.find(mark)?)?.1))
            .find_map(|rest| rest.strip_prefix(mark))
            .filter(|path| path.len() > 1 || *mark != "0::")
            .map(str::to_owned)
    })
}

/// The path of the cgroup that freezes a process, in the content of `/proc/PID/cgroup`: of the cgroup v2 line in the
/// unified hierarchy, else of the v1 freezer's.
pub fn freezer_path(text: &str, unified: bool) -> Option<String> {
    text.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = if unified {
            number == "0" && controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "freezer")
        };
        // As the kernel marks one that was removed while the process is still there.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        (is_it && path.starts_with('/')).then(|| path.to_owned())
    })
}

/// Finds the container in a cgroup path. The innermost one wins.
pub fn container_from_path(path: &str) -> Option<Container> {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    components
        .iter()
        .enumerate()
        .rev()
        .find_map(|(depth, component)| {
            let name = component.strip_suffix(".scope").unwrap_or(component);
            for (prefix, runtime) in PREFIXES {
                if let Some(id) = name.strip_prefix(prefix)
                    && is_id(id)
                {
                    return Some(Container {
                        id: id.to_owned(),
                        runtime: Some(runtime),
                    });
                }
            }
            // nspawn: /machine.slice/machine-NAME.scope
            if name != *component
                && let Some(id) = name.strip_prefix("machine-")
            {
                return Some(Container {
                    id: id.to_owned(),
                    runtime: Some("nspawn"),
                });
            }
            // cgroupfs driver: /docker/ID, /kubepods/burstable/podUID/ID
            is_id(name).then(|| {
                let parent = depth
                    .checked_sub(1)
                    .and_then(|up| components.get(up))
                    .copied()
                    .unwrap_or_default();
                let runtime = match parent {
                    "docker" => Some("docker"),
                    "libpod_parent" => Some("podman"),
                    _ => None,
                };
                Container {
                    id: name.to_owned(),
                    runtime,
                }
            })
        })
}

fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d";

    #[test]
    fn paths_of_cgroups() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(cgroup_path(text).as_deref(), expected, "{text}");
        };
        check(
            "0::/system.slice/sshd.service\n",
            Some("/system.slice/sshd.service"),
        );
        let hybrid = "12:cpu:/\n1:name=systemd:/system.slice/crond.service\n0::/\n";
        check(hybrid, Some("/system.slice/crond.service"));
        check("12:cpu:/\n", None);
        check("", None);
        let freezer = |text: &str, unified: bool, expected: Option<&str>| {
            assert_eq!(freezer_path(text, unified).as_deref(), expected, "{text}");
        };
        freezer("0::/a.slice/x (deleted)\n", true, Some("/a.slice/x"));
        freezer("0::/\n", true, Some("/"));
        freezer("4:cpu,freezer:/docker/1\n0::/\n", false, Some("/docker/1"));
        freezer("0::/a\n", false, None);
        freezer("0::a\nx\n::\n", true, None);
    }

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let found = container_from_path(&path.replace("ID", ID));
        let runtime = found.as_ref().map_or("host", |c| c.runtime.unwrap_or("unknown"));
        assert_eq!(runtime, expected, "{path}");
        assert!(found.is_none_or(|c| c.id == ID || c.id == "web"));
    }

    #[test]
    fn paths_of_runtimes() {
        check("/system.slice/docker-ID.scope", "docker");
        check("/docker/ID", "docker");
        check("/machine.slice/libpod-ID.scope/container", "podman");
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "podman",
        );
        check("/kubepods.slice/kubepods-pod1.slice/crio-ID.scope", "cri-o");
        check(
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
            "containerd",
        );
        check("/kubepods/burstable/pod2f1/ID", "unknown");
        check("/machine.slice/machine-web.scope/init.scope", "nspawn");
    }

    #[test]
    fn paths_of_the_host() {
        check("/", "host");
        check("", "host");
        check("/system.slice/sshd.service", "host");
        check("/system.slice/docker-notanid.scope", "host");
        check("/user.slice/user-1000.slice/session-3.scope", "host");
    }

    #[test]
    fn files_of_both_versions() {
        let v2 = format!("0::/system.slice/docker-{ID}.scope\n");
        assert!(container_from_cgroup(&v2).is_some());
        let v1 = format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert!(container_from_cgroup(&v1).is_some());
        assert_eq!(container_from_cgroup("0::/init.scope\n"), None);
        assert_eq!(container_from_cgroup("garbage"), None);
    }
}
