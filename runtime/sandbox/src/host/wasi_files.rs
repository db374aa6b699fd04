//! `wasi:filesystem/types`, so that opening a file ends.
//!
//! Opening a pipe waits for whoever writes to it, and reading a terminal for whoever types: neither
//! notices a cancel or a deadline. Grants are for files and directories, so others are not opened.

use crate::State;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView},
    p2::{
        FsResult,
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
        },
    },
    runtime::in_tokio,
};

type Store<'a> = StoreContextMut<'a, State>;
type Opening = (
    Resource<Descriptor>,
    PathFlags,
    String,
    OpenFlags,
    DescriptorFlags,
);
type Opened = wasmtime::Result<(Result<Resource<Descriptor>, ErrorCode>,)>;

const TYPES: &str = "wasi:filesystem/types@0.2.12";
const OPEN_AT: &str = "[method]descriptor.open-at";

async fn open(
    mut view: WasiFilesystemCtxView<'_>,
    (directory, path_flags, path, open_flags, flags): Opening,
) -> FsResult<Resource<Descriptor>> {
    let borrowed = Resource::new_borrow(directory.rep());
    // What does not exist may be made; any other error shows again.
    if let Ok(found) = view.stat_at(borrowed, path_flags, path.clone()).await {
        match found.type_ {
            DescriptorType::RegularFile
            | DescriptorType::Directory
            | DescriptorType::SymbolicLink => {}
            _ => return Err(ErrorCode::NotPermitted.into()),
        }
    }
    view.open_at(directory, path_flags, path, open_flags, flags)
        .await
}

fn answer(opened: FsResult<Resource<Descriptor>>) -> Opened {
    Ok((match opened {
        Ok(descriptor) => Ok(descriptor),
        Err(error) => Err(error.downcast()?),
    },))
}

pub(crate) fn add_sync(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance(TYPES)?
        .func_wrap(OPEN_AT, |mut store: Store<'_>, opening: Opening| {
            answer(in_tokio(open(store.data_mut().filesystem(), opening)))
        })
}

pub(crate) fn add_async(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance(TYPES)?
        .func_wrap_async(OPEN_AT, |mut store: Store<'_>, opening: Opening| {
            Box::new(async move { answer(open(store.data_mut().filesystem(), opening).await) })
        })
}
