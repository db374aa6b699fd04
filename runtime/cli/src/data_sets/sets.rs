//! The data sets that are known: public ones, those of TaPS among them.

use serde::Serialize;

/// A data set, for one app.
#[derive(Debug, Serialize)]
pub(crate) struct DataSet {
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// The app that takes it, and its option.
    pub(crate) used_by: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Under which terms it is distributed, or where they are told.
    pub(crate) terms: &'static str,
    /// Its files.
    pub(crate) files: &'static [RemoteFile],
}

/// A file of a data set.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RemoteFile {
    /// Where it is.
    pub(crate) url: &'static str,
    /// MD5 of its bytes as its makers publish it; none where they do not.
    pub(crate) md5: Option<&'static str>,
    /// Whether it is an archive (`.tar`, `.tar.gz`), whose files are wanted instead.
    pub(crate) archive: bool,
}

impl RemoteFile {
    /// Its name, the last part of its address.
    pub(crate) fn name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

const fn file(url: &'static str, md5: &'static str) -> RemoteFile {
    RemoteFile {
        url,
        md5: Some(md5),
        archive: false,
    }
}

const fn unchecked(url: &'static str) -> RemoteFile {
    RemoteFile {
        url,
        md5: None,
        archive: false,
    }
}

const fn archive(url: &'static str, md5: Option<&'static str>) -> RemoteFile {
    RemoteFile {
        url,
        md5,
        archive: true,
    }
}

/// All of them, by name.
pub(crate) const SETS: &[DataSet] = &[
    DataSet {
        name: "cifar10",
        used_by: "fedlearn --app.dataset cifar10 --app.data-dir",
        about: "60,000 small colour images of 10 classes",
        terms: "https://www.cs.toronto.edu/~kriz/cifar.html (cite Krizhevsky 2009)",
        files: &[archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            Some("c32a1d4ab5d03f1284b67883e8d87530"),
        )],
    },
    DataSet {
        name: "cifar100",
        used_by: "fedlearn --app.dataset cifar100 --app.data-dir",
        about: "60,000 small colour images of 100 classes",
        terms: "https://www.cs.toronto.edu/~kriz/cifar.html (cite Krizhevsky 2009)",
        files: &[archive(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            Some("03b5dce01913d631647c71ecec9e9cb8"),
        )],
    },
    DataSet {
        name: "docking",
        used_by: "docking --app.smi-file-name-ligand, --app.receptor",
        about: "1,000 drug-like molecules and the c-Abl kinase",
        terms: "https://github.com/Parsl/parsl-docking-tutorial",
        files: &[
            unchecked(
                "https://raw.githubusercontent.com/Parsl/parsl-docking-tutorial/main/dataset_orz_original_1k.csv",
            ),
            unchecked(
                "https://raw.githubusercontent.com/Parsl/parsl-docking-tutorial/main/1iep_receptor.pdbqt",
            ),
        ],
    },
    DataSet {
        name: "enron",
        used_by: "mapreduce --app.data-dir",
        about: "half a million mails, 1.4 GB unpacked",
        terms: "https://www.cs.cmu.edu/~enron/",
        files: &[archive(
            "https://www.cs.cmu.edu/~enron/enron_mail_20150507.tar.gz",
            None,
        )],
    },
    DataSet {
        name: "fashion-mnist",
        used_by: "fedlearn --app.dataset fmnist --app.data-dir",
        about: "70,000 images of clothes in 10 classes",
        terms: "MIT, https://github.com/zalandoresearch/fashion-mnist",
        files: &[
            file(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            file(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
                "25c81989df183df01b3e8a0aad5dffbe",
            ),
            file(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
                "bef4ecab320f06d8554ea6380940ec79",
            ),
            file(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ],
    },
    DataSet {
        name: "m17",
        used_by: "montage --app.img-folder",
        about: "2MASS K-band images around M17",
        terms: "http://montage.ipac.caltech.edu (acknowledge 2MASS)",
        files: &[archive(
            "http://montage.ipac.caltech.edu/docs/Kimages.tar",
            None,
        )],
    },
    DataSet {
        name: "mnist",
        used_by: "fedlearn --app.dataset mnist --app.data-dir",
        about: "70,000 images of handwritten digits",
        terms: "http://yann.lecun.com/exdb/mnist/ (cite LeCun, Cortes)",
        files: &[
            file(
                "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            ),
            file(
                "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
                "d53e105ee54ea40749a09fcbcd1e9432",
            ),
            file(
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
                "9fb629c4189551a2d022fa330f9573f3",
            ),
            file(
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ],
    },
    DataSet {
        name: "qm9-search",
        used_by: "moldesign --app.dataset",
        about: "130,258 small molecules",
        terms: "https://github.com/ExaWorks/molecular-design-parsl-demo",
        files: &[unchecked(
            "https://raw.githubusercontent.com/ExaWorks/molecular-design-parsl-demo/main/data/QM9-search.tsv",
        )],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_sorted_and_differ_and_digests_are_digests() {
        assert!(SETS.is_sorted_by(|a, b| a.name < b.name));
        for set in SETS {
            let names: BTreeSet<_> = set.files.iter().map(RemoteFile::name).collect();
            assert_eq!(names.len(), set.files.len(), "{}", set.name);
            for file in set.files {
                let hex = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
                assert!(
                    file.md5
                        .is_none_or(|md5| md5.len() == 32 && md5.chars().all(hex))
                );
            }
        }
    }
}
