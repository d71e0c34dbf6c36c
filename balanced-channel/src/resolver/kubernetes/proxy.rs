//! Detects a proxy between this process and the API server. Proxies are not supported.

use std::env;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;

/// Removes the proxy that kube has read from `HTTPS_PROXY` if `NO_PROXY` covers the server. kube itself ignores
/// `NO_PROXY`.
///
/// # Errors
///
/// If the kubeconfig or `HTTPS_PROXY` sets a proxy for the server.
pub fn without_proxy(mut config: Config) -> Result<Config, String> {
    let variable = |names: [&str; 2]| {
        names.into_iter().filter_map(|name| env::var(name).ok()).find(|value| !value.is_empty())
    };
    let https_proxy = variable(["HTTPS_PROXY", "https_proxy"]);
    check(&config, https_proxy, variable(["NO_PROXY", "no_proxy"]))?;
    config.proxy_url = None;
    Ok(config)
}

fn check(config: &Config, https_proxy: Option<String>, no_proxy: Option<String>) -> Result<(), String> {
    let Some(proxy) = &config.proxy_url else { return Ok(()) };
    let Some(https_proxy) = https_proxy.filter(|value| value.parse().is_ok_and(|value: Uri| value == *proxy))
    else {
        return Err(format!(
            "the kubeconfig names the proxy {proxy} (proxy-url), and proxies to the Kubernetes API are not supported"
        ));
    };
    let no_proxy = no_proxy.unwrap_or_default();
    // The matcher does not apply `*` to addresses.
    let none = no_proxy.split(',').any(|item| item.trim() == "*");
    let matcher = Matcher::builder().all(https_proxy).no(no_proxy).build();
    if none || matcher.intercept(&config.cluster_url).is_none() {
        return Ok(());
    }
    let server = config.cluster_url.host().unwrap_or_default();
    Err(format!(
        "HTTPS_PROXY is set, and proxies to the Kubernetes API are not supported: add {server} to NO_PROXY"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_an_error_unless_no_proxy_covers_the_server() {
        let server = |proxy: Option<&str>| {
            let mut config = Config::new(Uri::from_static("https://10.0.0.1:6443"));
            config.proxy_url = proxy.map(|proxy| proxy.parse().unwrap());
            config
        };
        let proxy = "http://proxy:3128";
        let check = |config: &Config, https_proxy: Option<&str>, no_proxy: Option<&str>| {
            check(config, https_proxy.map(str::to_owned), no_proxy.map(str::to_owned))
        };
        assert_eq!(check(&server(None), Some(proxy), None), Ok(()), "kube did not take the proxy");
        for covering in ["10.0.0.1", "10.0.0.0/8", "a.test,10.0.0.1", "*"] {
            assert_eq!(check(&server(Some(proxy)), Some(proxy), Some(covering)), Ok(()), "{covering}");
        }
        for other in [None, Some("10.0.0.2"), Some("192.168.0.0/16")] {
            let error = check(&server(Some(proxy)), Some(proxy), other).unwrap_err();
            assert!(error.contains("add 10.0.0.1 to NO_PROXY"), "{error}");
        }
        let error = check(&server(Some("http://other:1")), Some(proxy), Some("*")).unwrap_err();
        assert!(error.contains("the kubeconfig names the proxy http://other:1"), "{error}");
    }
}
