"""Runs moto's server. Arguments are those of moto_server.

One server is used by many tests. It checks signatures and IAM policies for buckets whose name begins with `checked-`, and
for no others; anybody can make users.

moto 5.2.5 calls the answers to some questions by another name than S3 does. boto does not look at it; the Rust SDK does,
and takes the answer for none. Here they get the name that S3 gives them.

Of several writers who want one name at the same moment, S3 lets one win. moto looks whether the name is taken first and
stores then, so that several win. Here it does both for one writer at a time.

To list the versions of one object, moto copies and sorts those of the whole bucket, which takes a quarter of a second for
three thousand. Here it looks at those whose names begin as asked, and copies what a listing changes. It parses each time
of an object only once.

For each request moto looks through the folders of all its services, one request at a time, and logs it. Here it remembers
what it found, and logs none: that was most of what a request cost.

An object stored with the metadata `each-line` is a list of names, one a line: an object of one byte is stored under each.
"""

import copy
import functools
import sys
import threading
import types

from moto import backends, settings
from moto.core import serialize
from moto.core.authorization import ActionAuthenticatorMixin
from moto.s3 import models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler
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
        answer = put_object(self)
        if self.headers.get("x-amz-meta-each-line"):
            for name in self.body.decode().split():
                self.backend.put_object(self.bucket_name, name, b"x")
        return answer


list_object_versions = models.S3Backend.list_object_versions


def list_with_prefix(self, bucket_name, prefix="", **options):
    bucket = self.get_bucket(bucket_name)
    versions = ((key, list(all)) for key, all in bucket.keys.iterlists() if key.startswith(prefix or ""))
    part = types.SimpleNamespace(keys=types.SimpleNamespace(iterlists=lambda: versions))
    backend = types.SimpleNamespace(get_bucket=lambda _: part)
    return list_object_versions(backend, bucket_name, prefix=prefix, **options)


def copy_each(versions):
    return [copy.copy(version) for version in versions]


check_s3 = ActionAuthenticatorMixin._authenticate_and_authorize_s3_action


def check_some(self, bucket_name=None, key_name=None):
    if bucket_name and bucket_name.startswith("checked-"):
        check_s3(self, bucket_name, key_name)


services = tuple(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: services
backend_of_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
DomainDispatcherApplication.get_backend_for_host = lambda self, host: backend_of_host(self, host)
MotoRequestHandler.log_request = lambda self, *answer: None
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
ActionAuthenticatorMixin._authenticate_and_authorize_normal_action = lambda self, resource="*": None
ActionAuthenticatorMixin._authenticate_and_authorize_s3_action = check_some
S3Response.serialized = renamed
models.S3Backend.list_object_versions = list_with_prefix
models.copy = types.SimpleNamespace(copy=copy.copy, deepcopy=copy_each)
serialize.parse_to_aware_datetime = functools.lru_cache(10_000)(serialize.parse_to_aware_datetime)
S3Response.put_object = one_at_a_time
sys.exit(main())
