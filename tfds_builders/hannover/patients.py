"""Patients of Hannover whose X-rays are in the COVID-19 image data collection (`ccx`) as well."""

from __future__ import annotations

from tfds_builders import patient_ids

# patient:number in ccx. The collection took the images over under their names, so its metadata.csv
# and data.csv say it. It has 48bbd9e5, 741f3334 and f722f605 under two numbers each (also
# 386, 388 and 392), which `ccx` joins.
_CCX = """
042f06a9:219 09ec853d:221 0a359802:222 0f2b9fbd:223 14d9761b:224 177330aa:225 189daebe:226
19677c11:227 1c642000:228 23032572:229 271ddf1a:230 31fb078d:232 327d82ca:233 3c87abb9:234
3e461592:235 48bbd9e5:236 50397f62:237 57f37ffa:239 5aa14f40:240 67b047c9:241 6a66932a:242
6ac9bfff:243 6b53918c:244 741f3334:245 77a9d3bc:246 78075b29:247 7a7f0216:248 850bf237:249
85901531:250 88b33741:251 8d6990f2:252 969dd2e0:253 9e37879b:254 9fcd89ef:255 a3e9f0ce:256
a695ef27:257 b184707c:258 b25e0dbb:259 b8da7bc7:261 c62c878a:263 d039b079:264 ec0f429c:266
f31da5d4:267 f602d0dc:268 f722f605:269 ff488d3e:270
"""
CCX_PATIENTS = {name: number for name, number in (pair.split(":") for pair in _CCX.split())}
_BY_KEY = {patient_ids.key(name): number for name, number in CCX_PATIENTS.items()}


def spell(key: str) -> str:
    """The published spelling of a patient's key: numbers have eight digits."""
    return key.zfill(8) if key.isdecimal() else key


def strict_patient_id(patient: str) -> str:
    """'ccx-219' where the collection has the patient, else 'hannover-<patient>'."""
    number = _BY_KEY.get(patient_ids.key(patient))
    return f"ccx-{number}" if number else f"hannover-{patient}"
