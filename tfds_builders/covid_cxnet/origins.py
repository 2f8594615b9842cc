"""Images of COVID-CXNet that are images of another set, and the patient they have there.

A list of names and numbers, made by comparing the published files (see README.md).
Each group is `patient:image,image,...`, an image being the stem of its file without "-" and "p".
"""

from __future__ import annotations

import itertools

from tfds_builders.hannover import patients

# 107 have the bytes of a file of the collection, all further ones are its X-rays in another size.
_CCX = """
2:003,004 4:006 6:007,008 12:010 13:011,012,013,014 14:015 15:016,017 16:019 17:020,021,022 18:023
24:032 32:081 33:060 36:063,064 37:066,067 38:068 39:069 41:071 42:072 43:073 44:074 45:075 46:076
47:077 48:078 49:079 50:080 51:082 52:084 53:085 54:086 56:088 58:037 59:038,039 60:040 64:044
65:045 67:046,047 68:048,049 70:089,090 71:092,093,094 72:095 73:052,053 74:054,259 76:056 77:097
78:096,452 80:059 81:058 82:098 83:099 84:100 85:101 86:102,103 93:138 95:113,114 96:110,111,112
97:104,105,106,107,202 98:123 99:122 112:146,147 113:148,149 114:150,151 115:152,153 116:121,83
137:154 138:155 139:156 140:165 141:164,196 142:160,161,162 143:158,159 144:144,145 145:143 146:139
147:168 149:849 150:171 151:172 152:173 153:174 154:175 155:176 156:177 157:178 158:179 159:180
160:400,401,402 163:108,109 164:115,116 165:129 166:130 167:131 168:136,137 169:190,191
173:182,183,184,185,186 174:187 175:189 176:181 177:128 179:124,125,126 180:198 181:201 182:200
183:199 185:214,215 187:216,217,218 189:230 190:224,225 193:234 195:213 196:209 199:208 202:453
205:415,416,417,418,419,420,421 211:440 215:444 288:412,413 290:427 293:711,712 336:722 337:723
341:454 342:456,457,458 344:479 345:483 349:715 350b:206 350c:414 351:471 352:203 353:207
355:204 356:506 357:192,193,194,195 360a:242
"""
# 48 have the bytes of a file of Hannover, all further ones are cut out of one.
_HANNOVER = """
042f06a9:557,624,646 04a33bab:569 09ec853d:526,608,616,629,635 0a359802:567,590,636 0f2b9fbd:565
14d9761b:615 177330aa:553,582 189daebe:510,511,538,541,577,597,650,665,695 19677c11:642 23032572:532
271ddf1a:522,529,570,641,651,673 2d1f1ee8:605,625 31fb078d:632 327d82ca:547,571,622,693 3c87abb9:666
3e461592:543,606,631,640
48bbd9e5:513,521,523,535,549,559,561,566,579,591,601,610,623,633,671,687,701,705
4b523a1c:690,692,703,704 50397f62:634 530a29b3:519,542,596,618,648 57f37ffa:612 5aa14f40:669
67b047c9:555 6a66932a:539 6ac9bfff:614,657
6b53918c:533,545,563,574,575,578,580,586,599,600,602,603,604,613,620,627,628,639,652,653,654,655
741f3334:520,536,544,554,568,576,587,593,594,611,638,663,667,670,694,697,702 77a9d3bc:556,592
78075b29:537,558 7a7f0216:659 850bf237:514,528,645
85901531:518,534,540,548,552,584,609,617,637,647,656,658,660 88b33741:531,649
8cb68566:686,688,689,696,698,700 8d6990f2:644,662 969dd2e0:512,516,530,572,581,595,621,664
9e37879b:525,527 a695ef27:589 b184707c:668 b25e0dbb:630 b2c8e2ab:517 b8da7bc7:524 bd2a3dba:583
c62c878a:515,550,560,564,626 d039b079:546,551,588 d3fb252e:706 db889dfd:672 ec0f429c:643
f31da5d4:562 f4058f23:691,699 f602d0dc:619 f722f605:573,585 ff488d3e:598,607,661
"""
_FIGURE1 = """
COVID-00001:057 COVID-00016:245 COVID-00043:459,460
"""


def _images(groups: str, source: str) -> dict[str, tuple[str, str]]:
    pairs = (group.split(":") for group in groups.split())
    return {image: (source, patient) for patient, images in pairs for image in images.split(",")}


ORIGINS = dict(
    itertools.chain(
        _images(_CCX, "ccx").items(),
        _images(_HANNOVER, "hannover").items(),
        _images(_FIGURE1, "figure1").items(),
    )
)


def patient_id(image: str) -> str | None:
    """The `patient_id` that the other set's builder gives; None if no other set has the image."""
    if image not in ORIGINS:
        return None
    source, patient = ORIGINS[image]
    return f"{source}-{patient}"


def strict_patient_id(image: str) -> str | None:
    """The `strict_patient_id` that the other set's builder gives; None if no other set has it."""
    if image not in ORIGINS:
        return None
    source, patient = ORIGINS[image]
    return patients.strict_patient_id(patient) if source == "hannover" else f"{source}-{patient}"
