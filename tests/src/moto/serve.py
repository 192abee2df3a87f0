"""Runs moto's server. Arguments are those of moto_server.

moto 5.2.5 calls the answers to some questions by another name than S3 does. boto does not look at it; the Rust SDK does,
and takes the answer for none. Here they get the name that S3 gives them.

Of several writers who want one name at the same moment, S3 lets one win. moto looks whether the name is taken first and
stores then, so that several win. Here it does both for one writer at a time.
"""

import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

NAMES = {
    "GetBucketVersioningResponse": "VersioningConfiguration",
    "GetBucketAclResponse": "AccessControlPolicy",
    "GetObjectAclResponse": "AccessControlPolicy",
    "GetObjectTaggingResponse": "Tagging",
    "GetBucketLifecycleConfigurationResponse": "LifecycleConfiguration",
}

serialized = S3Response.serialized


def renamed(self, result):
    status, headers, body = serialized(self, result)
    for wrong, right in NAMES.items():
        if isinstance(body, str):
            body = body.replace(f"<{wrong}", f"<{right}").replace(f"</{wrong}>", f"</{right}>")
        elif isinstance(body, bytes):
            body = body.replace(f"<{wrong}".encode(), f"<{right}".encode())
            body = body.replace(f"</{wrong}>".encode(), f"</{right}>".encode())
    return status, headers, body


put_object = S3Response.put_object
turn = threading.Lock()


def one_at_a_time(self):
    with turn:
        return put_object(self)


S3Response.serialized = renamed
S3Response.put_object = one_at_a_time
sys.exit(main())
