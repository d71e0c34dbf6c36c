//! `kubernetes:///` targets of `load` and `call`, and the kubeconfig that leads to the API server.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use service::testing::{
    Exit,
    api_server::{ApiServer, Slice, kubeconfig},
    bounded, exit_of,
};

const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

const DRILL: &str = "drill kill --on kubernetes --target http://127.0.0.1:9/";

async fn run(line: &str, config: &str) -> Exit {
    run_with(line, config, &[]).await
}

async fn run_with(line: &str, config: &str, more: &[(&str, &str)]) -> Exit {
    let words: Vec<_> = line.split(' ').collect();
    bounded(exit_of(TOOL, &words, &[&[("KUBECONFIG", config), ("NO_COLOR", "1")], more].concat())).await
}

/// A kubeconfig whose user runs a command for its credentials.
fn with_plugin(server: &ApiServer, command: &str, hint: &str) -> String {
    let plugin = format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {command:?}, \
         installHint: {hint:?}}}}}"
    );
    let config = kubeconfig(&format!("{{server: 'http://{}'}}", server.address), "none");
    config.replace("{token: 'none'}", &plugin)
}

#[tokio::test]
async fn load_names_the_ports_of_a_service_as_call_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start().await;
    server.put_slice(&Slice::new("svc-1", "svc", 8000, [Slice::pod("a", "127.0.0.1")]));
    // As for kubectl, a file that is not there is left out.
    let (missing, good) = (folder.path().join("missing"), folder.path().join("good"));
    fs::write(&good, server.kubeconfig("secret")).unwrap();
    let config = format!("{}:{}", missing.display(), good.display());
    let why = "the pods of service svc have no port 9999: they have grpc (8000)";
    let load = run("load kubernetes:///svc.default:9999 -n 1", &config).await;
    assert_eq!(load.code, Some(3), "{load:?}");
    assert!(load.stderr.contains(why) && load.stderr.lines().count() == 1, "{load:?}");
    let call = run("call kubernetes:///svc.default:9999 -n 1", &config).await;
    assert_eq!(call.code, Some(3), "{call:?}");
    assert!(call.stdout.contains(why), "{call:?}");
}

#[tokio::test]
async fn credential_plugin_is_found_beside_its_kubeconfig() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start().await;
    server.require_token("secret");
    let script = folder.path().join("bin/plugin");
    fs::create_dir(folder.path().join("bin")).unwrap();
    let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"secret"}}"#;
    fs::write(&script, format!("#!/bin/sh\necho '{credential}'\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("config");
    fs::write(&config, with_plugin(&server, "bin/plugin", "")).unwrap();
    let config = config.to_str().unwrap();
    let exit = run(DRILL, config).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    // The API server took the token.
    assert!(exit.stderr.contains("there is no Deployment hellogrpc in the namespace default"), "{exit:?}");
}

#[tokio::test]
async fn credential_plugin_that_fails_is_named_with_its_hint() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start().await;
    let path = folder.path().join("config");
    let config = path.to_str().unwrap();
    let absent = folder.path().join("bin/plugin");
    for (command, named, cause) in [
        ("bin/plugin", absent.as_path(), "No such file or directory"),
        (
            "kubetester-test-no-such-plugin",
            Path::new("kubetester-test-no-such-plugin"),
            "No such file or directory",
        ),
        ("false", Path::new("false"), "exit status: 1"),
    ] {
        fs::write(&path, with_plugin(&server, command, "Install it\nwith apt.")).unwrap();
        for line in [DRILL, "load kubernetes:///svc.default:8000 -n 1 --timeout 2s"] {
            let exit = run(line, config).await;
            assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{line}: {exit:?}");
            let plugin = format!("running the credential plugin {named:?} of the kubeconfig failed: {cause}");
            for words in [&plugin, "; Install it with apt."] {
                assert!(exit.stderr.contains(words), "{line}: {words} is not in {}", exit.stderr);
            }
        }
    }
}

#[tokio::test]
async fn proxy_of_the_environment_is_refused_unless_no_proxy_covers_the_api_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start().await;
    server.put_slice(&Slice::new("svc-1", "svc", 8000, [Slice::pod("a", "127.0.0.1")]));
    let config = folder.path().join("config");
    fs::write(&config, server.kubeconfig("secret")).unwrap();
    let config = config.to_str().unwrap();
    let proxy = ("HTTPS_PROXY", "http://127.0.0.1:9");
    for (line, answer) in [
        (DRILL, "there is no Deployment hellogrpc in the namespace default"),
        ("load kubernetes:///svc.default:9999 -n 1 --timeout 10s", "they have grpc (8000)"),
    ] {
        let covered = run_with(line, config, &[proxy, ("NO_PROXY", "10.0.0.0/8,127.0.0.0/8")]).await;
        assert_eq!((covered.code, covered.stderr.contains(answer)), (Some(3), true), "{line}: {covered:?}");
        let refused = run_with(line, config, &[proxy, ("NO_PROXY", "10.0.0.0/8")]).await;
        let advice = "proxies to the Kubernetes API are not supported: add 127.0.0.1 to NO_PROXY";
        assert_eq!((refused.code, refused.stderr.contains(advice)), (Some(3), true), "{line}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{line}: {refused:?}");
    }
}
