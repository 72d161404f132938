//! A certificate authority for one case, with certificates for the server and for clients.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Workspace;
use super::case::tool;
use super::process::run;

/// An authority.
pub struct Authority {
    name: String,
}

/// A certificate with its key.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Creates an authority. The names of its files begin with `name`.
    pub fn new(workspace: &Workspace, name: &str) -> Self {
        let authority = Self { name: name.to_owned() };
        openssl(
            workspace,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                 -keyout {name}.key -out {name}.pem -subj /CN={name} \
                 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
            ),
        );
        authority
    }

    /// Returns the authority's certificate.
    pub fn certificate(&self, workspace: &Workspace) -> PathBuf {
        workspace.path(format!("{}.pem", self.name))
    }

    /// Creates a certificate for `localhost` and `127.0.0.1`.
    pub fn server(&self, workspace: &Workspace) -> Identity {
        self.server_for(workspace, "server", "DNS:localhost,IP:127.0.0.1")
    }

    /// Creates a server's certificate for these names.
    pub fn server_for(&self, workspace: &Workspace, role: &str, names: &str) -> Identity {
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n");
        self.issue(workspace, role, &extensions)
    }

    /// Creates a server's certificate for `127.0.0.1` that expired at the beginning of 2021.
    pub fn expired(&self, workspace: &Workspace) -> Identity {
        let Self { name } = self;
        let identity = self.server_for(workspace, "expired", "IP:127.0.0.1");
        workspace.write("index.txt", "");
        let config = format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nserial={name}.srl\nnew_certs_dir=.\n\
             certificate={name}.pem\nprivate_key={name}.key\ndefault_md=sha256\npolicy=any\n\
             [any]\ncommonName=supplied\n"
        );
        workspace.write("ca.conf", config);
        openssl(
            workspace,
            &format!(
                "ca -batch -notext -config ca.conf -in {name}-expired.csr -out {name}-expired.pem \
                 -extfile {name}-expired.ext -startdate 20200101000000Z -enddate 20210101000000Z"
            ),
        );
        identity
    }

    /// Creates a certificate for a client.
    pub fn client(&self, workspace: &Workspace) -> Identity {
        self.issue(workspace, "client", "extendedKeyUsage=clientAuth\n")
    }

    fn issue(&self, workspace: &Workspace, role: &str, extensions: &str) -> Identity {
        let Self { name } = self;
        let file = format!("{name}-{role}");
        workspace.write(&format!("{file}.ext"), format!("basicConstraints=CA:FALSE\n{extensions}"));
        openssl(
            workspace,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                 -keyout {file}.key -out {file}.csr -subj /CN={role}"
            ),
        );
        openssl(
            workspace,
            &format!(
                "x509 -req -in {file}.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial -days 2 \
                 -extfile {file}.ext -out {file}.pem"
            ),
        );
        Identity {
            certificate: workspace.path(format!("{file}.pem")),
            key: workspace.path(format!("{file}.key")),
        }
    }
}

/// Runs openssl in the workspace. The arguments contain no spaces.
pub fn openssl(workspace: &Workspace, arguments: &str) -> String {
    let mut command = Command::new(tool("openssl"));
    command.args(arguments.split_whitespace()).current_dir(workspace.root());
    run(workspace, &mut command)
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a workspace's path is text")
}
