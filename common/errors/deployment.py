"""WR-19xx: real hospitals: gateway, enrolment, agent, proposals and approvals."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1901",
        "gateway cannot be reached",
        "No connection to the coordinator's gateway came about: the name is unknown, the port is closed, a firewall"
        " or a proxy refuses, or the time ran out.",
        "Check the address with the coordinator, and ask your network staff to allow one outgoing TLS connection to"
        " it; a proxy is named by the variable https_proxy.",
    ),
    ErrorPage(
        "WR-1902",
        "document is malformed",
        "A request, admission, proposal or decision is truncated, too long, not in canonical form, or holds fields "
        "that it must not have. It is refused whole and nothing of it is used.",
        "Check that both sides run releases of wardround that work together, and that the file was not edited.",
    ),
    ErrorPage(
        "WR-1903",
        "document is not genuine",
        "A signed document does not verify under the key that should have signed it: the consortium's authority for"
        " rosters and proposals, the site's identity key for requests and decisions.",
        "Do not go on before the consortium has found out who changed it; compare fingerprints by telephone.",
    ),
    ErrorPage(
        "WR-1904",
        "invite code is not valid",
        "The code has a slip of the hand, was used before, has expired, was withdrawn, or belongs to another site "
        "name.",
        "Copy the whole code again, and give --site the name that stands in the coordinator's invite; or ask the"
        " coordinator for a new code (wardround coordinator invite).",
    ),
    ErrorPage(
        "WR-1905",
        "certificate is refused",
        "The other side does not take the TLS certificate: it has expired, was revoked, belongs to another "
        "consortium or another name, or there is none.",
        "A revoked or expired hospital asks the coordinator for a new invite and joins again: wardround hospital join "
        "- --site NAME. The coordinator sees every certificate in wardround coordinator sites list.",
    ),
    ErrorPage(
        "WR-1906",
        "proposed study cannot be read",
        "The proposal is genuine, but its study has fields or values that this release does not know.",
        "Update this hospital's wardround, or ask the coordinator to propose the study for this release.",
    ),
    ErrorPage(
        "WR-1907",
        "somebody is between hospital and coordinator",
        "The server's key is not the one that the invite or the consortium's authority stands for. Most often a "
        "proxy in the hospital's network opens TLS connections to inspect them; then it would see what only the "
        "coordinator may see.",
        "Ask the network staff to exempt the coordinator's address from TLS inspection. If they do not inspect, do "
        "not go on and call the coordinator.",
    ),
    ErrorPage(
        "WR-1908",
        "releases do not work together",
        "Hospital and coordinator speak no common version of the protocol, or run other versions of Flower's messages.",
        "Update the older side; a release works with the one before it.",
    ),
    ErrorPage(
        "WR-1909",
        "call is not allowed",
        "A site asked for something in the name of another site or node, or for a call that is not open to it.",
        "A hospital with its own keys and an unchanged release never does this: look at that site's log, and revoke"
        " it if nobody can explain it.",
    ),
    ErrorPage(
        "WR-1910",
        "too much at once",
        "A message is larger than its cap, or a site sends more than its quota.",
        "Large models need a higher cap at the coordinator (gateway.max_message_mb); otherwise look for a site that"
        " repeats itself.",
    ),
    ErrorPage(
        "WR-1911",
        "message must not leave",
        "The egress gate found something in a reply that its kind does not have: an unknown kind, a field or record"
        " too many, a value of wrong type, or more bytes than the study's model explains. Nothing of it was sent.",
        "This is a bug or a changed installation: reinstall the release, and report it with the log's line.",
    ),
    ErrorPage(
        "WR-1912",
        "app bundle is not the approved one",
        "The run came with a Flower app bundle of another hash than the release's own. Its code was not looked at.",
        "Start runs with wardround coordinator start only; if that is so, update the older side.",
    ),
    ErrorPage(
        "WR-1913",
        "study lacks approvals",
        "The study was not proposed, or fewer hospitals approved it than it needs.",
        "wardround coordinator studies shows who has decided what; ask the others, or propose a smaller study.",
    ),
    ErrorPage(
        "WR-1914",
        "folder is not what the command needs",
        "The coordinator's or the hospital's folder is missing, damaged, not empty where a new one is made, or open"
        " to other accounts of the machine.",
        "Name the folder that init or join has made, restore it from its backup, or choose an empty one.",
    ),
    ErrorPage(
        "WR-1915",
        "database cannot be used",
        "The database cannot be reached, was made by a newer release, or is damaged.",
        "Check database.url in coordinator.toml and that the server runs; after an update of the program its tables"
        " are updated at the next start, never back.",
    ),
    ErrorPage(
        "WR-1916",
        "already running",
        "Another process works on this folder.",
        "Use the running one, or stop it first.",
    ),
    ErrorPage(
        "WR-1917",
        "worker died",
        "The process that trains ended by itself or was ended by the system, most often because memory ran out. The"
        " agent goes on with a new one; the message it worked on is answered with this code.",
        "Give the machine more memory, lower training.batch_size in the next study, or set worker.memory_mb.",
    ),
    ErrorPage(
        "WR-1918",
        "GPU is gone",
        "The agent is configured to train on a GPU and finds none, or lost it. It does not fall back to the processor.",
        "Look at nvidia-smi, at the driver and at the container's device options; or set the device to cpu in "
        "hospital.toml, knowingly.",
    ),
    ErrorPage(
        "WR-1919",
        "decision needs people",
        "A decision names the person who takes it, and a second one where policy.toml asks for two.",
        "Give --by NAME, and --second NAME where two are needed.",
    ),
    ErrorPage(
        "WR-1920",
        "data set is not registered so",
        "The name is taken by another manifest, is unknown, or the manifest changed since it was registered.",
        "wardround hospital data list shows what is registered; remove and add it again if the change is meant.",
    ),
    ErrorPage(
        "WR-1921",
        "site is not in that state",
        "The site is not a member, is one already, or was revoked.",
        "wardround coordinator sites list shows every site and its state.",
    ),
    ErrorPage(
        "WR-1922",
        "SuperLink does not run",
        "Flower's SuperLink did not start, or ended.",
        "Its output is in log/superlink.log of the coordinator's folder; most often a port is taken or the "
        "installation lacks a package.",
    ),
    ErrorPage(
        "WR-1923",
        "run is not in that state",
        "There is no such run, it is over, it is running already, or it is a private one and a hospital of it has other"
        " keys than when it began.",
        "wardround coordinator studies lists the runs and their states.",
    ),
    ErrorPage(
        "WR-1924",
        "study is not proposed here",
        "No study that was proposed has that name or hash, more than one has it, or a hospital's agent has not heard"
        " of it yet.",
        "wardround hospital studies and wardround coordinator studies list what was proposed; give the hash as it"
        " stands there.",
    ),
    ErrorPage(
        "WR-1925",
        "hospital could not answer",
        "Something went wrong inside the hospital that is no refusal: a full disk, a damaged file, a bug. What it was "
        "stays there.",
        "At the hospital: faults.log in its home folder says what happened. At the coordinator: ask its people.",
    ),
    ErrorPage(
        "WR-1931",
        "name or key cannot be used",
        "A site's name has characters that it must not have, or means something else; a text for people is too long or"
        " not printable; or a key is another site's already: no two sites share one, and a key that one site ever had"
        " is nobody else's.",
        "Choose another name. If a key is said to be taken, two hospitals run on a copy of one home folder: make the"
        " second one anew with wardround hospital join.",
    ),
    ErrorPage(
        "WR-1932",
        "known already",
        "The study was proposed before, or a decision is older than one that the same hospital took since. Nothing was"
        " changed.",
        "wardround coordinator studies shows what was proposed and decided.",
    ),
    ErrorPage(
        "WR-1935",
        "process of a run ended by itself",
        "The coordinator carries out every run in a process of its own. This one ended several times in a row before"
        " it had committed another round, most often because memory ran out or a disk is full. What was committed is"
        " kept.",
        "log/runs.log of the coordinator's folder may say why. Mend it and go on: wardround coordinator resume RUN --by"
        " NAME.",
    ),
    ErrorPage(
        "WR-1936",
        "roster is not accepted everywhere",
        "A run needs that the people of every hospital in it have accepted a roster; a private one, that they have"
        " accepted the newest keys of all its hospitals. The coordinator knows what was accepted from the agents, which"
        " say so within seconds where they are connected.",
        "At each of these hospitals: wardround hospital roster, compare the fingerprint by telephone, wardround "
        "hospital roster accept FINGERPRINT --by NAME. Or start without them: --without SITE. wardround coordinator "
        "sites list shows who has accepted what.",
    ),
    ErrorPage(
        "WR-1937",
        "identity key was revoked",
        "A hospital that was revoked wants to join with the identity key that it had then. A revoked key is refused for"
        " good: whoever else may have it would be the hospital to all others.",
        "At the hospital, with a new invite: wardround hospital join - makes a new identity by itself; by files:"
        " wardround hospital join --request FILE --new-identity. The old key is kept aside, and the privacy ledger goes"
        " on.",
    ),
    ErrorPage(
        "WR-1938",
        "study was withdrawn",
        "The coordinator withdrew the study before it was started. It is not approved, not started, and not proposed"
        " again under the same hash.",
        "Nothing has to be done. To ask anew, the coordinator changes the study file and proposes it again.",
    ),
    ErrorPage(
        "WR-1939",
        "agent was stopped",
        "Somebody at the hospital stopped its agent, or the machine shut down in good order. The agent said so before"
        " it ended; it is no fault.",
        "At the hospital: wardround hospital serve, or the service that runs it. What waits is answered then.",
    ),
    ErrorPage(
        "WR-1940",
        "gateway cannot listen",
        "The system does not let the gateway listen on the address that coordinator.toml or serve --listen names: the"
        " machine does not have that address, the port needs a right that the account lacks, or the name is unknown.",
        "Set listen to an address and a port of this machine: 0.0.0.0:8443 needs no right of its own.",
    ),
    ErrorPage(
        "WR-1941",
        "nothing is open for that run",
        "This hospital keeps nothing of a study run of that name, and its privacy ledger has reserved nothing for it:"
        " the name has a slip, or the run ended here and was settled.",
        "wardround hospital ledger show lists the runs with their names; a run that was settled needs nothing.",
    ),
)
