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
        let params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let folder = std::env::temp_dir().join(unique("staleproof-tls"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder, authority: authority.pem() }
    }

    fn server(&self) -> Option<RedisServer> {
        RedisServer::own_with(Options {
            tls: Some(self.files()),
            password: Some("hunter2".to_owned()),
            ..Options::default()
        })
    }

    fn sentinel(&self, primary: &RedisServer) -> Option<RedisServer> {
        let settings = Some(format!("tls-replication yes\nsentinel monitor orders 127.0.0.1 {} 1\n", primary.port()));
        RedisServer::own_with(Options { tls: Some(self.files()), settings, is_sentinel: true, ..Options::default() })
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("certificate.pem"), self.folder.join("key.pem"))
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
async fn sentinels_and_the_server_that_they_name_are_of_a_trusted_authority() {
    let certificates = Certificates::new();
    let Some(server) = certificates.server() else { return };
    let Some(sentinel) = certificates.sentinel(&server) else { return };
    let url = format!("rediss+sentinel://:hunter2@localhost:{}/orders", sentinel.port());
    let trusting = config(&url, &unique("test")).tls_root_certificates(certificates.authority.clone());
    let store = RedisStore::connect(trusting).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
    let others = config(&url, "test").tls_root_certificates(Certificates::new().authority.clone());
    let error = RedisStore::connect(others).await.expect_err("not trusted");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_an_error() {
    let config = config("rediss://localhost", "test").tls_root_certificates("-----BEGIN CERTIFICATE-----\nx\n");
    let error = RedisStore::connect(config).await.expect_err("not a certificate");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}
