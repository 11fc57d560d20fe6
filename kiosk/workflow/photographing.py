"""BODY_SITE, PREVIEW and REVIEW: from the place on the body to a sealed photograph."""

from __future__ import annotations

from dataclasses import replace

from kiosk import events as e
from kiosk.errors import Problem
from kiosk.flow import Flow, State
from kiosk.model import PHOTOS_MAX
from kiosk.workflow.table import (
    Result,
    RuleBook,
    fault,
    go,
    stay,
    to_preview,
)

rules = RuleBook()


@rules.on(
    State.BODY_SITE, e.SiteChosen, State.PREVIEW, State.BODY_SITE, note="side needed where the region has one"
)
def _site_chosen(flow: Flow, event: e.SiteChosen) -> Result:
    if flow.consent is None or (event.site.region.has_sides and event.site.laterality is None):
        return flow, ()
    return to_preview(flow, site=event.site)


@rules.on(State.PREVIEW, e.CameraReady)
def _camera_ready(flow: Flow, event: e.CameraReady) -> Result:
    return replace(flow, camera_ready=True), ()


@rules.on(State.PREVIEW, e.ShutterPressed, note="the frame on screen freezes, unless the set is full")
def _shutter(flow: Flow, event: e.ShutterPressed) -> Result:
    if not flow.camera_ready or event.frame < 0 or flow.site is None:
        return flow, ()
    if len(flow.photos) >= PHOTOS_MAX:
        # Before the photograph, not after it: nothing that was taken is ever turned away.
        return replace(flow, problem=Problem.SESSION_FULL), ()
    number = flow.taken + 1
    take = e.TakePhoto(event.photo, number, event.frame, event.at, flow.site)
    return stay(flow, take, busy=True, frozen=event.frame, taken=number)


@rules.on(State.PREVIEW, e.Captured, State.REVIEW)
def _captured(flow: Flow, event: e.Captured) -> Result:
    return go(flow, State.REVIEW, review=event.photo)


@rules.on((State.PREVIEW, State.REVIEW), e.LightToggled)
def _light(flow: Flow, event: e.LightToggled) -> Result:
    return stay(flow, e.SetLight(not flow.light), light=not flow.light)


@rules.on(State.PREVIEW, e.ChangeSiteTouched, State.BODY_SITE)
@rules.on(State.PREVIEW, e.BackTouched, State.BODY_SITE)
def _change_site(flow: Flow, event: e.Event) -> Result:
    return go(flow, State.BODY_SITE, e.CloseCamera(), camera_ready=False, frozen=None)


@rules.on(State.PREVIEW, e.FinishTouched, State.SUMMARY, State.PREVIEW, note="with at least one photograph")
def _finish(flow: Flow, event: e.FinishTouched) -> Result:
    if not flow.photos:
        return flow, ()
    return go(flow, State.SUMMARY, e.CloseCamera(), camera_ready=False, frozen=None)


@rules.on(State.REVIEW, e.Kept, note="keep")
@rules.on(State.REVIEW, e.ShutterPressed, note="keep, by the button")
def _kept(flow: Flow, event: e.Event) -> Result:
    if flow.review is None:
        return flow, ()
    return stay(flow, e.SealPhoto(flow.review), busy=True)


@rules.on(State.REVIEW, e.Sealed, State.PREVIEW)
def _sealed(flow: Flow, event: e.Sealed) -> Result:
    return go(flow, State.PREVIEW, photos=(*flow.photos, event.photo), review=None, frozen=None)


@rules.on(State.REVIEW, e.Retaken, State.PREVIEW)
@rules.on(State.REVIEW, e.BackTouched, State.PREVIEW)
def _retaken(flow: Flow, event: e.Event) -> Result:
    return go(flow, State.PREVIEW, e.DropFrame(), review=None, frozen=None)


@rules.on(State.PREVIEW, e.Failed, State.PREVIEW, State.FAULT)
def _preview_failed(flow: Flow, event: e.Failed) -> Result:
    if event.lasting:
        return fault(flow, event)
    return replace(flow, busy=False, frozen=None, problem=event.problem), ()
