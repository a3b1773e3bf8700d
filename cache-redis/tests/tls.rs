//! `rediss://`.

mod common;

use std::path::PathBuf;

use cache_redis::{ConnectError, RedisStore};
use common::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use test_support::{Options, RedisServer, unique};

/// An authority and a server's certificate by it, as PEM files.
struct Certificates {
    folder: PathBuf,
    authority: String,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let folder = std::env::temp_dir().join(unique("staleproof-tls"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder, authority: authority.pem() }
    }

    fn server(&self) -> Option<RedisServer> {
        let tls = Some((self.folder.join("certificate.pem"), self.folder.join("key.pem")));
        RedisServer::own_with(Options { tls, password: Some("hunter2".to_owned()), ..Options::default() })
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_used() {
    let certificates = Certificates::new();
    let Some(mut server) = certificates.server() else { return };
    let config = config(&server.url(), &unique("test")).tls_root_certificates(certificates.authority.clone());
    let store = RedisStore::connect(config).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
    server.restart();
    until(&store, false).await;
    until(&store, true).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_an_error() {
    let certificates = Certificates::new();
    let Some(server) = certificates.server() else { return };
    let others = Certificates::new();
    for config in
        [config(&server.url(), "test"), config(&server.url(), "test").tls_root_certificates(others.authority.clone())]
    {
        let error = RedisStore::connect(config).await.expect_err("not trusted");
        assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_an_error() {
    let config = config("rediss://localhost", "test").tls_root_certificates("-----BEGIN CERTIFICATE-----\nx\n");
    let error = RedisStore::connect(config).await.expect_err("not a certificate");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}
