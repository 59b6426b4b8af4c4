"""What all uploads of one S3 store share: the client, the memory budget and the layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tusd_py.model.upload import Upload
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.budget import MemoryBudget
from tusd_py.storage.s3.client import S3Client
from tusd_py.storage.s3.layout import Keys, PartLayout
from tusd_py.storage.s3.state import S3State, from_storage
from tusd_py.threads import ThreadPool


@dataclass(frozen=True, slots=True)
class S3Resources:
    """The bucket, the memory, and how new uploads are laid out."""

    client: S3Client
    keys: Keys
    budget: MemoryBudget
    layout: PartLayout  # of new uploads
    parallel_parts: int  # of one request
    attributes: ObjectAttributes
    threads: ThreadPool  # for reading from sockets

    def state(self, upload: Upload) -> S3State:
        """The state of ``upload`` in its record. Earlier versions recorded no key."""
        state = from_storage(upload.storage, self.layout)
        if not state.key and (state.multipart_id or (state.is_empty and upload.offset)):
            return replace(state, key=self.keys.object_of(upload))
        return state
